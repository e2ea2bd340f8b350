"""Read the site, apply each part. No logic here: it is in genesis_hub, where it is tested."""

from genesis_hub.settings import Settings

settings = Settings.from_environment()

c = get_config()
settings.apply(c)
