"""What the HTTP interface is given to work with; `gesso.app` makes these and hands them over."""

from collections.abc import Callable
from dataclasses import dataclass

from gesso.accounts.keys import Keys
from gesso.accounts.rate_limits import Rates
from gesso.api.metrics import Metrics
from gesso.catalogue.catalogue import Catalogue
from gesso.catalogue.live import LiveCatalogue
from gesso.engine.messages import EngineState
from gesso.imaging.decode import Decoder
from gesso.imaging.fetch import Fetcher
from gesso.jobs.service import Service
from gesso.settings import Settings
from gesso.storage.objects import PictureFolder


@dataclass(frozen=True, slots=True)
class Parts:
    """Ready-made and started. `engine_state` is asked anew each time."""

    settings: Settings
    live: LiveCatalogue
    keys: Keys
    rates: Rates
    service: Service
    pictures: PictureFolder
    decoder: Decoder
    fetcher: Fetcher
    metrics: Metrics
    engine_state: Callable[[], EngineState]

    @property
    def catalogue(self) -> Catalogue:
        """As of now; a request asks once."""
        return self.live.current
