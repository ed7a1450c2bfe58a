"""Panels as Grafana's dashboard JSON (schema 39, Grafana 10 and later). Pure."""

from __future__ import annotations

from typing import Any

from bench.dashboards.panels import Dashboard, Panel

SOURCE = {"type": "prometheus", "uid": "${source}"}
HEIGHTS = {"stat": 4, "lines": 8, "stacked": 8, "bars": 8}
TYPES = {"stat": "stat", "lines": "timeseries", "stacked": "timeseries", "bars": "bargauge"}


def dashboard_json(dashboard: Dashboard) -> dict[str, Any]:
    """The dashboard as it is provisioned from a file."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.text,
        "tags": ["ocho"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,  # one crosshair over all panels
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "",
        "links": [{"type": "dashboards", "tags": ["ocho"], "title": "Ocho", "asDropdown": False, "keepTime": True}],
        "templating": {"list": [_source(), _models()]},
        "panels": _placed(dashboard),
    }


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}


def _models() -> dict[str, Any]:
    return {
        "name": "model", "label": "Model", "type": "query", "datasource": SOURCE, "multi": True, "includeAll": True,
        "allValue": ".*", "current": {"text": "All", "value": "$__all"}, "refresh": 2, "sort": 1,
        "query": {"query": "label_values(ocho_request_duration_seconds_count, model)", "refId": "models"},
    }  # fmt: skip


def _placed(dashboard: Dashboard) -> list[dict[str, Any]]:
    """Rows top to bottom, panels left to right, wrapping at 24 columns."""
    made: list[dict[str, Any]] = []
    y = 0
    for row in dashboard.rows:
        made.append({"id": len(made) + 1, "type": "row", "title": row.title, "collapsed": False, "panels": [],
                     "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})  # fmt: skip
        x, y, height = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > 24:
                x, y, height = 0, y + height, 0
            height = max(height, HEIGHTS[panel.kind])
            place = {"x": x, "y": y, "w": panel.width, "h": HEIGHTS[panel.kind]}
            made.append({"id": len(made) + 1, "gridPos": place, **_panel(panel)})
            x += panel.width
        y += height
    return made


def _panel(panel: Panel) -> dict[str, Any]:
    return {
        "type": TYPES[panel.kind],
        "title": panel.title,
        "description": panel.text,
        "datasource": SOURCE,
        "targets": [
            {"refId": chr(ord("A") + i), "expr": q.expr, "legendFormat": q.legend or panel.title, "datasource": SOURCE}
            for i, q in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _options(panel),
    }


def _field(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    steps += [{"color": "orange" if i == 0 else "red", "value": mark} for i, mark in enumerate(panel.marks)]
    field: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}, "min": 0}
    if panel.unit == "percentunit":
        field["max"] = 1
    if any(mark <= 0 for mark in panel.marks):
        del field["min"]
    if TYPES[panel.kind] == "timeseries":
        field["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 25 if panel.kind == "stacked" else 0,
            "stacking": {"mode": "normal" if panel.kind == "stacked" else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if panel.marks else "off"},
        }
    return field


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "area", "colorMode": "value"}
    if panel.kind == "bars":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "orientation": "horizontal", "displayMode": "gradient"}
    return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
