"""The application of the node's tests: plain HTTP, stdlib only, whose behaviour its environment chooses."""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

state = {"ready": os.environ.get("READY", "yes") == "yes", "alive": True}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        what = self.path.strip("/")
        if what == "work":
            until = time.thread_time() + 0.2
            while time.thread_time() < until:
                pass
        if what in ("break", "ready-now", "unready-now"):
            state.update({"alive": False} if what == "break" else {"ready": what == "ready-now"})
        failing = (what == "ready" and not state["ready"]) or (what == "alive" and not state["alive"])
        token = os.environ.get("TOKEN_FILE")
        body = {"env": dict(os.environ), "argv": sys.argv[1:], "token": Path(token).read_text() if token else None}
        data = json.dumps(body).encode()
        self.send_response(503 if failing else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128


if os.environ.get("CRASH"):
    sys.exit("cannot start")
server = Server((os.environ["HOST"], 8000), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("listening", flush=True)
server.serve_forever()
server.server_close()
print("drained", flush=True)
