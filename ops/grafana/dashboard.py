"""The Grafana dashboard as code: `python -m ops.grafana.dashboard` writes `dashboards/twelve.json` beside this file.

Six rows: whether the objectives are kept, who asks, how long it takes, where the time goes, what is full, what goes
wrong.
"""

from collections.abc import Sequence
from pathlib import Path
from string import ascii_uppercase

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, StackingMode, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef

from twelve.errors import ServerError

Panel = timeseries.Panel

FILE = Path(__file__).parent / "dashboards" / "twelve.json"
SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
WINDOW = "$__rate_interval"
OUR_FAULT = "|".join(kind.code for kind in ServerError.__subclasses__())

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
FAILURES_ALLOWED, SLOW_ALLOWED = 0.001, 0.01
"""Shares of all predictions, as ops/alerts/twelve.rules.yml has them."""

BURN_WINDOWS = ("5m", "1h", "6h", "3d")

HALF, THIRD, HEIGHT = 12, 8, 8
"""A dashboard is 24 wide."""


def build() -> dashboard.Dashboard:
    """Lay out the dashboard.

    Returns:
        Its builder.
    """
    source = dashboard.DatasourceVariable("source").type("prometheus").label("Data source")
    board = (
        dashboard.Dashboard("12-in-1")
        .uid("twelve")
        .description("Requests, times and errors of one server, by task and by stage.")
        .tags(["twelve"])
        .refresh("10s")
        .time("now-30m", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(source)
    )
    rows = {
        "Objectives": objectives(),
        "Traffic": traffic(),
        "Time by task": latency(),
        "Time by stage": stages(),
        "Saturation": saturation(),
        "Errors": errors(),
    }
    for title, panels in rows.items():
        board = board.with_row(dashboard.Row(title))
        for panel in panels:
            board = board.with_panel(panel)
    return board


def objectives() -> list[Panel]:
    """Show how fast the allowed failures and slow answers are used up; at 1 they last as long as they should."""
    failures = [(f"twelve:failed_share:rate{window} / {FAILURES_ALLOWED}", window) for window in BURN_WINDOWS]
    slow = [(f"twelve:slow_share:rate{window} / {SLOW_ALLOWED}", window) for window in BURN_WINDOWS]
    return [
        lines("Failures, times the allowed rate", "short", HALF, failures),
        lines("Slow answers, times the allowed rate", "short", HALF, slow),
    ]


def traffic() -> list[Panel]:
    """Show who asks."""
    by_task = f"sum by (task) (rate(twelve_requests_total[{WINDOW}]))"
    by_code = f"sum by (code) (rate(twelve_requests_total[{WINDOW}]))"
    by_status = f"sum by (status) (rate(twelve_edge_requests_total[{WINDOW}])) > 0"
    return [
        stacked(chart("Requests by task", "reqps", THIRD, by_task, "{{task}}")),
        stacked(chart("Answers by code", "reqps", THIRD, by_code, "{{code}}")),
        stacked(chart("nginx's answers by status", "reqps", THIRD, by_status, "{{status}}")),
    ]


def latency() -> list[Panel]:
    """Show how long it takes, by nginx's clock where it knows the task, else from a request's entry to its answer."""
    return [chart(f"{name} by task", "s", THIRD, quantile(share), "{{task}}") for name, share in QUANTILES.items()]


def quantile(share: float) -> str:
    """Ask for a quantile of each task's times: nginx's, and a worker's where there is no nginx."""
    families = ("twelve_edge_request_seconds", "twelve_request_seconds")
    rates = [f"sum by (task, le) (rate({family}_bucket[{WINDOW}]))" for family in families]
    return " or ".join(f"histogram_quantile({share}, {rate})" for rate in rates)


def stages() -> list[Panel]:
    """Show where the time goes."""
    busy = f"sum by (stage) (rate(twelve_stage_seconds_sum[{WINDOW}]))"
    batches = f"sum by (stage) (rate(twelve_stage_seconds_count[{WINDOW}]))"
    rates = f"sum by (stage, le) (rate(twelve_stage_seconds_bucket[{WINDOW}]))"
    queued = f"rate(ts_queue_latency_microseconds[{WINDOW}]) / rate(ts_inference_requests_total[{WINDOW}]) / 1e6"
    return [
        stacked(chart("Workers busy in each stage", "short", HALF, busy, "{{stage}}")),
        chart("Mean of a batch", "s", HALF, f"{busy} / {batches}", "{{stage}}"),
        chart("p95 of a batch", "s", HALF, f"histogram_quantile(0.95, {rates})", "{{stage}}"),
        chart("Mean wait in TorchServe's queue", "s", HALF, queued, "{{model_name}}"),
    ]


def saturation() -> list[Panel]:
    """Show what is full: the queue, the workers, the passes, and the cache that keeps the detector from running."""
    queued = "twelve_queue_depth / twelve_queue_capacity"
    workers = [("twelve_workers_ready", "ready {{instance}}"), ("twelve_workers_wanted", "wanted {{instance}}")]
    rows = f"sum by (le) (rate(twelve_batch_rows_bucket[{WINDOW}]))"
    sizes = [(f"histogram_quantile({share}, {rows})", name) for name, share in QUANTILES.items()]
    found = f'sum(rate(twelve_feature_cache_total{{result!="missed"}}[{WINDOW}]))'
    all_pictures = f"sum(rate(twelve_feature_cache_total[{WINDOW}]))"
    where = f"sum by (result) (rate(twelve_feature_cache_total[{WINDOW}]))"
    return [
        chart("Queue, share of its capacity", "percentunit", THIRD, queued, "{{instance}}"),
        lines("Workers", "short", THIRD, workers),
        lines("Rows in a batch", "short", THIRD, sizes),
        stacked(chart("Pictures by where their regions were", "short", THIRD, where, "{{result}}")),
        chart("Pictures found in the cache, share", "percentunit", THIRD, f"{found} / {all_pictures}", "found"),
        chart("Runs of the detector", "short", THIRD, f"sum(rate(twelve_detector_runs_total[{WINDOW}]))", "runs"),
    ]


def errors() -> list[Panel]:
    """Show what goes wrong: the callers' errors, ours, and what TorchServe answered by itself."""
    refused = f'sum by (task, code) (rate(twelve_requests_total{{code!="ok"}}[{WINDOW}]))'
    failed = f'sum(rate(twelve_requests_total{{code=~"{OUR_FAULT}"}}[{WINDOW}])) or vector(0)'
    unanswered = f"sum(rate(Requests5XX[{WINDOW}])) or vector(0)"  # TorchServe has no such series before the first
    share = f"({failed}) / sum(rate(twelve_requests_total[{WINDOW}]))"
    return [
        chart("Errors by task and code", "reqps", THIRD, refused, "{{task}}: {{code}}"),
        chart("Share of requests that we failed", "percentunit", THIRD, share, "failed"),
        chart("TorchServe's answers 5xx", "reqps", THIRD, unanswered, "5xx"),
    ]


def chart(title: str, unit: str, width: int, expression: str, legend: str) -> Panel:
    """Give a panel of lines, one query in it; arguments as of `lines`."""
    return lines(title, unit, width, [(expression, legend)])


def lines(title: str, unit: str, width: int, queries: Sequence[tuple[str, str]]) -> Panel:
    """Give a panel of lines.

    Args:
        title: Above it.
        unit: In Grafana's names.
        width: Of 24.
        queries: PromQL, and the legend of its lines with their labels in double braces.

    Returns:
        The panel's builder.
    """
    panel = (
        Panel()
        .title(title)
        .unit(unit)
        .min(0)
        .span(width)
        .height(HEIGHT)
        .fill_opacity(10)
        .datasource(SOURCE)
        .legend(common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM))
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    for name, (expression, legend) in zip(ascii_uppercase, queries, strict=False):
        panel = panel.with_target(prometheus.Dataquery().ref_id(name).expr(expression).legend_format(legend).range())
    return panel


def stacked(panel: Panel) -> Panel:
    """Lay a panel's lines on top of each other."""
    return panel.fill_opacity(40).stacking(common.StackingConfig().mode(StackingMode.NORMAL))


def text() -> str:
    """Give the dashboard's JSON."""
    return JSONEncoder(sort_keys=True, indent=2).encode(build().build()) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
