"""People who are in the hub's memory are found there.

JupyterHub looks for the person of a request in its database, by the cookie and once more by the name in the address. It
holds that person in memory since they came, and never lets SQLAlchemy read them anew (its sessions do not expire what they
hold), so the answer is the very object that was there before. Each time costs six queries all the same, one for every
relation that is loaded eagerly: half of what a hub of hundreds of people computes.

Only the hub writes its database. A person who was deleted is not in memory any more, and who has another name or cookie
than was asked for is looked for as before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jupyterhub import orm
from jupyterhub.handlers.base import BaseHandler

Find = Callable[[type[orm.User], Any, str], "orm.User | None"]
_asked: Find = orm.User.find.__func__
_asked_by_cookie = BaseHandler._user_for_cookie


class Known:
    """The numbers of people by something that names them.

    Parameters
    ----------
    column : str
        What names them: a column of the people's table whose values are unique.
    """

    def __init__(self, column: str) -> None:
        self._column = column
        self._numbers: dict[str, int] = {}

    def find(self, db: Any, value: str) -> orm.User | None:
        """Return the person in memory; None where one must be looked for."""
        number = self._numbers.get(value)
        user = None if number is None else db.get(orm.User, number)
        if user is not None and getattr(user, self._column) == value:
            return user
        self._numbers.pop(value, None)
        return None

    def note(self, user: orm.User | None) -> orm.User | None:
        """Remember who was found, and return them."""
        if user is not None and user.id is not None:
            self._numbers[getattr(user, self._column)] = user.id
        return user


_names, _cookies = Known("name"), Known("cookie_id")


def find_in_memory() -> None:
    """Let JupyterHub find people in memory from now on."""
    orm.User.find = classmethod(_by_name)
    BaseHandler._user_for_cookie = _by_cookie


def _by_name(cls: type[orm.User], db: Any, name: str) -> orm.User | None:
    return _names.find(db, name) or _names.note(_asked(cls, db, name))


def _by_cookie(handler: BaseHandler, cookie_name: str, cookie_value: str | None = None) -> Any:
    cookie = handler.get_secure_cookie(cookie_name, cookie_value, max_age_days=handler.cookie_max_age_days)
    found = None if cookie is None else _cookies.find(handler.db, cookie.decode("utf8", "replace"))
    if found is None:
        asked = _asked_by_cookie(handler, cookie_name, cookie_value)
        _cookies.note(asked.orm_user if asked else None)
        return asked
    user = handler._user_from_orm(found)
    if handler._record_activity(user):
        handler.db.commit()
    return user
