"""What ``workshop sources`` runs: stand-ins of Confluence and SharePoint on this machine."""

from __future__ import annotations

import os
import socket

from rich.console import Console

from workshop_utils.errors import InputError, WorkshopError
from workshop_utils.serving import sources

HOST = "127.0.0.1"


def serve(console: Console, port: int, at: str | None = None, throttle: int = 0, page_size: int = 100) -> None:
    """Serve the stand-ins until Ctrl-C.

    Args:
        at: the date of the update stream to begin on; the first day when None.
        throttle: every request of this number is told to wait; 0 for none.
        page_size: how many results an answer holds at most.

    Raises:
        InputError: the port is taken, or ``at`` is no date.
        WorkshopError: there are no sources to serve.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise WorkshopError("uvicorn is not installed. Run 'python workshop.py' again to install it.") from error

    app = sources.create_app(at=at, faults=sources.Faults(throttle_every=throttle), page_size=page_size)
    with socket.socket() as probe:
        if os.name == "posix":  # as the server does, so that it can be started again at once
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise InputError(f"Port {port} is taken ({error}). Choose another with --port.") from error
    console.print(welcome(port, app.state.systems.date), soft_wrap=True, markup=False)
    uvicorn.run(app, host=HOST, port=port, log_level="warning")


def welcome(port: int, date: str | None) -> str:
    """How to reach the stand-ins; all secrets are fictional."""
    url = f"http://{HOST}:{port}"
    return f"""The company's systems, as of {date or "the first day"}. Ctrl-C stops them.

Confluence Data Center:
  ConfluenceLoader("{url}", "CLV", token="{sources.CONFLUENCE_TOKEN}")
Confluence Cloud:
  ConfluenceLoader("{url}/wiki", "CLV", token="{sources.CONFLUENCE_TOKEN}", email="{sources.EMAIL}", api="v2")
SharePoint:
  SharePointLoader("{sources.SITE}", tenant="{sources.TENANT}", client_id="{sources.CLIENT_ID}",
                   client_secret="{sources.CLIENT_SECRET}", base_url="{url}", login_url="{url}")

The next batch of updates:
  curl -X POST {url}/stand-in/advance --json "{{}}"
"""
