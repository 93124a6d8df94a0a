"""metrics.md: what a run tells of itself."""

from __future__ import annotations

from pages.markdown import code, table
from tapeflow.api import metrics


def metric_page() -> str:
    """metrics.md."""
    parts = [
        "# Metrics\n",
        "`GET /metrics` of a run gives these, for Prometheus. Base units; `_total` only grows, from 0 at the start of "
        "the process; what is not known yet has no sample. `deploy/prometheus/alerts.yml` has alert rules over them, "
        "`deploy/grafana/tapeflow.json` a dashboard; "
        "[how to use them](../how-to.md#watch-it-with-prometheus-and-grafana).\n",
    ]
    for title, about, measures in (
        ("The run", "Without labels.", metrics.OF_RUN),
        ("Connections", "Label `connection`: a share of the streams, which keeps its name when it is connected anew.",
         metrics.OF_CONNECTION),
        ("Alerts", "Without labels; counted since the start of the process.", metrics.OF_ALERTS),
        ("The API", "Without labels.", metrics.OF_HTTP),
    ):  # fmt: skip
        rows = ((code(one.name), one.kind, one.about) for one in measures)
        parts += [f"## {title}\n", about + "\n", table(("metric", "kind", "meaning"), rows)]
    return "\n".join(parts)
