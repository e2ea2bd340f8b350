"""The one append-only, hash-chained table of everything that matters afterwards.

An event is appended, read and verified here; what events mean is known by the rooms that write them. Nothing in this
package may update or delete an event, and triggers in the database refuse it to everybody else.
"""

from genesis_workbench.core.ledger.event import Event, NewEvent
from genesis_workbench.core.ledger.store import Ledger
from genesis_workbench.core.ledger.verification import Verification

__all__ = ["Event", "Ledger", "NewEvent", "Verification"]
