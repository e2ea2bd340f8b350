"""Loaded by each worker of this machine as it starts: what it logs stands in the notebook.

A worker that is told to close while its heartbeat is under way logs that as an error with a traceback, though nothing
is wrong. A scheduler that is really gone is told by the connection that broke.
"""

from __future__ import annotations

import logging

_RACE = "Failed to communicate with scheduler during heartbeat"


def _matters(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_RACE)


logging.getLogger("distributed.worker").addFilter(_matters)
