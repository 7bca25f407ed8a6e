"""What exports the models of trials, in this process."""

from sweeper.imports import loading
from sweeper.tracking.exporting import Exporting


def import_exporter() -> Exporting:
    """Import it, and what torch exports with: seconds of a core."""
    with loading("torch.export"):
        from sweeper.tracking.exported import import_export
        from sweeper.tracking.exporter import Exporter

        import_export()
    return Exporter()
