"""What all widgets share."""

from __future__ import annotations

import anywidget


class Widget(anywidget.AnyWidget):
    """A widget whose clicks are heard while a cell of its notebook runs.

    JupyterLab sends them to a thread of the kernel's that is free. ipykernel 7.4 sends them on to where the kernel last spoke of the
    widget, which is right for who answers a question; our widgets are told things by threads that a cell began, and each
    click would wait for whatever cell runs.
    """

    def open(self) -> None:
        """Open the connection to the page."""
        super().open()
        if hasattr(self.comm, "_reply_subshell_for"):
            self.comm._reply_subshell_for = lambda _data, sent_to: sent_to
