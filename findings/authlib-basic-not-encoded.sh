#!/usr/bin/env bash
# Authlib: client ID and secret go into HTTP Basic as they are, where OAuth wants them encoded first
#
# Versions   Authlib 1.9.10, requests 2.34.2.
# Behaviour  RFC 6749 2.3.1: identifier and password are encoded by application/x-www-form-urlencoded, then put into Basic.
#            Authlib leaves the first step out: a secret "100%+1" goes as "100%+1" and should go as "100%25%2B1".
# Seen       the Authorization header of fetch_token, decoded: client:100%+1. With client_secret_post the form is encoded,
#            and a server reads 100%+1.
# Meaning    a provider that decodes, as the RFC says, gets another secret wherever it holds %, + or :, and answers
#            invalid_client. Use client_secret_post where the provider offers it, or a secret of letters and digits.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check Authlib==1.9.10 requests==2.34.2
"$work/venv/bin/python" -W ignore - <<'END'
import base64
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

from authlib.integrations.requests_client import OAuth2Session

SECRET = "100%+1"
seen = []


class Provider(BaseHTTPRequestHandler):
    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        basic = self.headers.get("Authorization", "").removeprefix("Basic ")
        seen.append((base64.b64decode(basic).decode(), form.get("client_secret", [""])[0]))
        body = json.dumps({"access_token": "a", "token_type": "Bearer"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
for method in ("client_secret_basic", "client_secret_post"):
    session = OAuth2Session("client", SECRET, token_endpoint_auth_method=method)
    session.fetch_token(f"http://127.0.0.1:{server.server_port}/token", code="c")
server.shutdown()
print("Basic, decoded:", seen[0][0], "form:", seen[1][1])
sys.exit(0 if seen == [(f"client:{SECRET}", ""), ("", SECRET)] else 1)
END
