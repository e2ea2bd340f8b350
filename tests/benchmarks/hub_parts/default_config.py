"""JupyterHub as it comes: only sign-in, spawner and addresses are set, to those of the other."""

import os
from pathlib import Path

from benchmarks.hub_parts.stand_in import StandInSpawner
from genesis_hub.authentication import PeopleAuthenticator

c = get_config()  # noqa: F821
c.JupyterHub.bind_url = f"http://127.0.0.1:{os.environ['BENCH_PORT']}"
c.JupyterHub.hub_port = int(os.environ["BENCH_HUB_PORT"])
c.ConfigurableHTTPProxy.command = os.environ["BENCH_PROXY"].split("\n")
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{os.environ['BENCH_API_PORT']}"
c.JupyterHub.authenticator_class = PeopleAuthenticator
c.PeopleAuthenticator.people_file = os.environ["BENCH_PEOPLE"]
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = StandInSpawner
c.JupyterHub.db_url = f"sqlite:///{Path.cwd()}/jupyterhub.sqlite"
