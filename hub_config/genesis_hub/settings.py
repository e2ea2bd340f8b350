"""From site, state and secrets to JupyterHub's configuration."""

from __future__ import annotations

import ipaddress
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from genesis_hub import choosing, culling, links, profiles, resources, roles, teams, tuning
from genesis_hub.authentication import PeopleAuthenticator
from genesis_hub.ports import Ports
from genesis_hub.secrets import Secrets
from genesis_hub.spawners.container import ContainerSpawner
from genesis_hub.spawners.local import LocalSpawner
from genesis_hub.spawners.slurm import SlurmSpawner
from genesis_workbench.core.errors import InvalidInput
from genesis_workbench.core.scopes import EVERYONE
from genesis_workbench.core.site import Site, load_site
from genesis_workbench.core.state import State

# What every person's server is told.
_SERVER = (
    "--KernelManager.transport=ipc",  # TCP kernels are not encrypted; a socket file is for its owner alone
    "--HubOAuth.cache_max_age=15",  # for how long a server believes an answer of the hub
    "--LabApp.expose_app_in_browser=True",  # so that a widget can put a line into the notebook
    "--ServerApp.jpserver_extensions=genesis_workbench.server=True",  # ends it when idle
)


@dataclass(frozen=True)
class Settings:
    """Everything that the hub's configuration is made from."""

    site: Site
    state: State
    secrets: Secrets
    ports: Ports

    @classmethod
    def from_environment(cls) -> Settings:
        """Read what the supervisor left: GENESIS_SITE, GENESIS_STATE and GENESIS_PORT."""
        state = State(Path(os.environ["GENESIS_STATE"]))
        site = load_site(Path(os.environ["GENESIS_SITE"])).at_port(int(os.environ["GENESIS_PORT"]))
        return cls(site, state, Secrets.load_or_make(state.secrets), Ports.read(state.run / "ports.json"))

    def apply(self, c: Any) -> None:
        """Write the configuration into traitlets' `c`."""
        self._hub(c)
        self._people(c)
        self._servers(c)
        self._service(c)

    def _hub(self, c: Any) -> None:
        hub = self.site.hub
        c.JupyterHub.bind_url = f"{'https' if hub.certificate_file else 'http'}://{hub.address}:{hub.port}"
        c.JupyterHub.hub_bind_url = self._inside(self.ports.hub)
        c.JupyterHub.db_url = f"sqlite:///{self.state.hub_database}"
        tuning.put_together(self.state.hub_database)
        c.JupyterHub.upgrade_db = True  # a newer JupyterHub's tables; it keeps a copy of the file first
        c.JupyterHub.cookie_secret = bytes.fromhex(self.secrets.cookie_secret)
        # The proxy runs beside the hub: a hub that restarts cuts nobody off.
        c.ConfigurableHTTPProxy.should_start = False
        c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{self.ports.proxy_api}"
        c.ConfigurableHTTPProxy.auth_token = self.secrets.proxy_token
        c.JupyterHub.cleanup_servers = False
        c.JupyterHub.cleanup_proxy = False
        if self.site.internal_tls:
            self._internal_tls(c)
        if self.site.encrypted:
            self._cookies_for_tls_only(c)
        if hub.origin_domain:
            c.JupyterHub.subdomain_host = self.site.public_url
            c.JupyterHub.subdomain_hook = lambda name, domain, kind: (
                urlsplit(self.site.origin(name, kind)).hostname
            )
            # The hub answers at its own host only; the proxy sends unknown hosts to the service, their gate.
            c.JupyterHub.hub_routespec = f"{urlsplit(self.site.public_url).hostname}/"
        tuning.tune(c, self.state.hub_database)
        c.JupyterHub.template_paths = [str(choosing.TEMPLATES)]
        c.JupyterHub.template_vars = {
            "announcement": "",
            "teams": teams.accounts(self.site.servers.profiles),
        }

    @property
    def _server_options(self) -> list[str]:
        """What every person's server is told here."""
        secure = "--ServerApp.tornado_settings={'xsrf_cookie_kwargs': {'secure': True}}"
        return [*_SERVER, *([secure] if self.site.encrypted else ())]

    def _cookies_for_tls_only(self, c: Any) -> None:
        # Said here, not found out by what a proxy in front says of a request.
        c.JupyterHub.tornado_settings = {"cookie_options": {"secure": True}}
        # With an origin for each, nobody's server can put a cookie of its own beside those of another origin.
        c.JupyterHub.cookie_host_prefix_enabled = bool(self.site.hub.origin_domain)

    def _internal_tls(self, c: Any) -> None:
        from genesis_hub import internal_tls  # slow to import, and only where it is used

        tls = internal_tls.InternalTls(self.state.internal_tls, self.site)
        internal_tls.own_contexts()
        c.JupyterHub.internal_ssl = True
        c.JupyterHub.internal_certs_location = str(tls.store)
        c.WorkbenchSpawner.tls = tls

    def _people(self, c: Any) -> None:
        kinds = {"people": self._people_file, "oidc": self._oidc, "ldap": self._ldap}
        kinds[self.site.people.authenticator](c)
        c.JupyterHub.authenticator_class = teams.vouching(c.JupyterHub.authenticator_class)
        c.TeamAccounts.team_accounts = teams.accounts(self.site.servers.profiles)
        c.Authenticator.manage_groups = True
        # With what servers keep of an answer below, a removal ends everything within 30 s.
        c.Authenticator.auth_refresh_age = 15
        # Whom nobody vouches for any more must not go on working by a token.
        c.Authenticator.auth_refresh_strict = True
        c.Authenticator.refresh_pre_spawn = True

    def _people_file(self, c: Any) -> None:
        if not ipaddress.ip_address(self.site.hub.address).is_loopback:
            raise InvalidInput(
                f"hub.address is {self.site.hub.address}, which others can reach, but people.authenticator 'people' "
                "keeps passwords in a file for one machine. Set hub.address to 127.0.0.1."
            )
        c.JupyterHub.authenticator_class = PeopleAuthenticator
        c.PeopleAuthenticator.people_file = str(self.state.people)
        c.PeopleAuthenticator.enable_auth_state = True  # who has a name, where somebody else had it before
        c.Authenticator.allow_all = True  # whoever is in the file; nobody else has a password

    def _oidc(self, c: Any) -> None:
        from genesis_hub import oidc  # only where it is used: oauthenticator is an extra

        oidc.configure(c, self.site.people.oidc, self.site.public_url)

    def _ldap(self, c: Any) -> None:
        from genesis_hub import ldap  # an extra, as above

        ldap.configure(c, self.site.people.ldap)

    def _servers(self, c: Any) -> None:
        c.JupyterHub.allow_named_servers = True
        c.JupyterHub.user_redirect_hook = links.to_own_server
        if self.site.hub.private_name:
            c.Spawner.hub_connect_url = self._from_servers(self.ports.hub)
        c.WorkbenchSpawner.tutorials = str(resources.tutorials())
        c.WorkbenchSpawner.profiles = list(self.site.servers.profiles)
        c.WorkbenchSpawner.dashboard_idle_s = self.site.servers.dashboard_idle_s
        c.WorkbenchSpawner.home_bytes = self.site.servers.home_bytes
        c.WorkbenchSpawner.default_queue = self.site.compute.queue
        c.Spawner.options_form = lambda spawner: spawner.page()
        c.Spawner.options_from_form = profiles.from_form
        c.Spawner.default_url = "/lab"
        c.Spawner.apply_user_options = lambda spawner, options: (
            None
        )  # `profile()` reads them, where they are checked
        c.Spawner.start_timeout = self.site.servers.start_timeout_s
        # From when a batch job has told its address until it listens: on a busy machine that takes longer than 30 s.
        c.Spawner.http_timeout = max(30, self.site.servers.start_timeout_s)
        c.Spawner.server_token_scopes = lambda spawner: (
            roles.dashboard_token_scopes() if spawner.dashboard else roles.server_token_scopes()
        )
        c.Spawner.args = ["--allow-root", *self._server_options]
        c.WorkbenchSpawner.brings_lab_options = True
        c.Spawner.environment = {
            "GENESIS_SERVICE_URL": f"{self._from_servers(self.ports.service)}/services/{roles.SERVICE}",
            "GENESIS_SITE": os.environ["GENESIS_SITE"],  # where notebooks read what compute there is
            "JUPYTERHUB_ACTIVITY_INTERVAL": lambda spawner: str(culling.report_every_s(spawner.idle_s)),
            "GENESIS_IDLE_S": lambda spawner: str(spawner.idle_s),
            "PANEL_INLINE": "true",
        }
        chosen = {"local": self._local, "container": self._container, "slurm": self._slurm}
        {**chosen, "kubernetes": self._kubernetes}[self.site.servers.spawner](c)

    def _local(self, c: Any) -> None:
        c.JupyterHub.spawner_class = LocalSpawner
        c.LocalSpawner.homes = str(self.state.homes)
        c.LocalSpawner.logs = str(self.state.logs)

    def _container(self, c: Any) -> None:
        section = self.site.servers.containers
        folder = Path(section.folder) if section.folder else self.state.folder
        self._reachable_by_others("containers", "docs/how-to/containers.md")
        # Servers read the site from a copy beside the homes: the operator's own file may lie where they cannot see.
        shutil.copyfile(os.environ["GENESIS_SITE"], folder / "site.toml")
        (folder / "site.toml").chmod(0o644)
        c.JupyterHub.spawner_class = ContainerSpawner
        c.ContainerSpawner.site = self.site.name
        c.ContainerSpawner.containers = section
        c.ContainerSpawner.folder = str(folder)
        c.ContainerSpawner.data_folders = self.site.catalog.data_folders
        c.Spawner.args = self._server_options  # nobody is root in a container
        c.WorkbenchSpawner.brings_lab_options = False  # they name folders of the image
        c.Spawner.env_keep = [
            "LANG",
            "LC_ALL",
            "TZ",
        ]  # paths of the hub's machine mean nothing in a container
        c.Spawner.poll_interval = 10

    def _inside(self, port: int) -> str:
        """Return where one of the hub's own processes listens."""
        return f"{self._scheme}://{self.site.hub.private_address}:{port}"

    def _from_servers(self, port: int) -> str:
        """Return where people's servers reach one of the hub's own processes."""
        hub = self.site.hub
        return f"{self._scheme}://{hub.private_name or hub.private_address}:{port}"

    @property
    def _scheme(self) -> str:
        return "https" if self.site.internal_tls else "http"

    def _slurm(self, c: Any) -> None:
        servers, compute = self.site.servers, self.site.compute
        if os.geteuid() == 0 and not servers.become:
            raise InvalidInput(
                "This hub runs as root and would start everybody's server as root. Run it as an account of its own and "
                "set servers.become in the site file; see docs/how-to/slurm.md."
            )
        c.JupyterHub.spawner_class = SlurmSpawner
        c.SlurmSpawner.site_file = os.environ["GENESIS_SITE"]
        c.SlurmSpawner.become = servers.become
        c.SlurmSpawner.python = compute.python
        c.SlurmSpawner.poll_s = compute.slurm.poll_s
        c.Spawner.env_keep = ["LANG", "LC_ALL", "TZ"]  # paths of the hub's machine mean nothing on another
        c.Spawner.poll_interval = 30

    def _kubernetes(self, c: Any) -> None:
        from genesis_hub.spawners.kubernetes import KubernetesSpawner  # an extra, and slow to import

        self._reachable_by_others("pods", "docs/how-to/kubernetes.md")
        section = self.site.servers.kubernetes
        c.JupyterHub.spawner_class = KubernetesSpawner
        c.KubernetesSpawner.site = self.site.name
        c.KubernetesSpawner.servers = section
        c.KubernetesSpawner.queues = list(self.site.compute.kubernetes.queues)
        if section.namespace:
            c.KubernetesSpawner.namespace = section.namespace
        c.KubernetesSpawner.image_pull_policy = section.image_pull_policy
        c.KubernetesSpawner.image_pull_secrets = list(section.image_pull_secrets)
        c.KubernetesSpawner.delete_pvc = False  # a home outlives its person's account
        c.KubernetesSpawner.pvc_name_template = "home-{username}"  # one for all of a person's servers
        c.KubernetesSpawner.delete_grace_period = 10
        queues = [queue.name for queue in self.site.compute.kubernetes.queues]
        if self.site.compute.queue not in queues:  # it may be one of another kind of cluster
            c.WorkbenchSpawner.default_queue = next(iter(queues), "")
        c.Spawner.args = self._server_options
        c.WorkbenchSpawner.brings_lab_options = False
        c.Spawner.environment.pop("GENESIS_SITE")  # a path of the hub's machine
        c.Spawner.env_keep = ["LANG", "LC_ALL", "TZ"]
        c.Spawner.poll_interval = 30

    def _reachable_by_others(self, who: str, where: str) -> None:
        address = ipaddress.ip_address(self.site.hub.private_address)
        if address.is_unspecified and not self.site.hub.private_name:
            raise InvalidInput(
                f"hub.private_address is {address}, which is every address of this machine and none that {who} could call. "
                f"Name one, or set hub.private_name to the name by which they reach it; see {where}."
            )
        if address.is_loopback:
            raise InvalidInput(
                f"hub.private_address is {self.site.hub.private_address}, which {who} cannot reach. Name an address of "
                f"this machine on a network that only it and the {who} see; see {where}."
            )

    def _service(self, c: Any) -> None:
        c.JupyterHub.custom_scopes = roles.custom_scopes()
        c.JupyterHub.load_roles = [*roles.roles(), *teams.roles(self.site.servers.profiles)]
        # With hosts of its own the proxy's default target leads there: a hub that has no route to keep need not wait for it.
        route = {} if self.site.hub.origin_domain else {"url": self.ports.service_beside(self.site)}
        c.JupyterHub.services = [
            {
                **route,
                "name": roles.SERVICE,
                "api_token": self.secrets.service_token,
                "oauth_no_confirm": True,
                "oauth_client_allowed_scopes": list(EVERYONE),
                "oauth_redirect_uri": f"{self.site.origin(roles.SERVICE, 'service')}"
                f"/services/{roles.SERVICE}/oauth_callback",
            },
            {"name": roles.SUPERVISOR, "api_token": self.secrets.supervisor_token},
            {"name": roles.CULLER, "api_token": self.secrets.culler_token},
        ]
