"""Figures for Prometheus on loopback, in its text format. Off unless the configuration names a port.

No names, paths or serial numbers: any program on this machine can read them.
"""

import http.server
import threading
from datetime import datetime

from dustd import __version__
from dustd.daemon.status import Status
from dustd.errors import SurroundingsError

HOST = "127.0.0.1"
_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text(status: Status) -> str:
    """Lay out a status in Prometheus' text format 0.0.4."""
    progress = status.progress
    paused = sum(folder.paused is not None for folder in progress.folders)
    put_off = sum(len(folder.put_off) for folder in progress.folders)
    frames: list[tuple[str, float]] = [(f'{{status="{kind}"}}', count) for kind, count in sorted(status.frames.items())]
    families: list[tuple[str, str, str, list[tuple[str, float]]]] = [
        ("dustd_info", "gauge", "Version.", [(f'{{version="{__version__}"}}', 1)]),
        ("dustd_start_time_seconds", "gauge", "Unix time of the start.", [("", _unix(status.started_at))]),
        ("dustd_progress_time_seconds", "gauge", "Unix time of the last turn.", [("", _unix(status.written_at))]),
        ("dustd_frames_total", "counter", "Frames since the start by what became of them.", frames),
        ("dustd_backlog_frames", "gauge", "Frames that wait.", [("", progress.waiting)]),
        ("dustd_put_off_frames", "gauge", "Frames that cannot be read just now.", [("", put_off)]),
        ("dustd_failed_frames", "gauge", "Frames that failed and were not retried.", [("", status.failed_total)]),
        ("dustd_folders", "gauge", "Watched folders.", [("", len(progress.folders))]),
        ("dustd_folders_missing", "gauge", "Those not there.", [("", sum(not f.present for f in progress.folders))]),
        (
            "dustd_folders_paused",
            "gauge",
            "Those that wait for disk or share.",
            [("", paused)],
        ),
        ("dustd_config_refused", "gauge", "1 if the file is not in force.", [("", status.config_problem is not None)]),
    ]
    if progress.seconds_per_frame is not None:
        pace = progress.seconds_per_frame
        families += [("dustd_frame_seconds", "gauge", "Mean time per frame of late.", [("", round(pace, 4))])]
    lines = []
    for name, kind, about, samples in families:
        lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{labels} {float(value):.15g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def cannot_be_served(port: int, exc: OSError) -> SurroundingsError:
    """Say why no figures come from a port."""
    return SurroundingsError(
        f"metrics cannot be served on port {port} ({exc.strerror})",
        remedy="Choose another metrics.port, or see RestrictAddressFamilies in systemd/dustd.service",
    )


class MetricsServer:
    """Answers GET /metrics with what was last published, in a thread of its own."""

    def __init__(self, port: int) -> None:
        """Listen on 127.0.0.1:*port*. Raises SurroundingsError if that is impossible."""
        try:
            self._server = _Server((HOST, port), _Handler)
        except OSError as exc:
            raise cannot_be_served(port, exc) from exc
        self.port: int = self._server.server_port
        threading.Thread(target=self._server.serve_forever, name="dustd-metrics", daemon=True).start()

    def publish(self, text: str) -> None:
        """Answer with *text* from now on."""
        self._server.page = text.encode()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Server(http.server.ThreadingHTTPServer):
    page = b""
    daemon_threads = True


class _Handler(http.server.BaseHTTPRequestHandler):
    timeout = 10
    server: _Server

    def do_GET(self) -> None:
        if self.path != "/metrics":
            self.send_error(404)
            return
        page = self.server.page
        self.send_response(200)
        self.send_header("Content-Type", _CONTENT_TYPE)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Keep quiet: a scrape is no event."""


def _unix(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
