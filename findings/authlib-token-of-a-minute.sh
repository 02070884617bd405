#!/usr/bin/env bash
# Authlib: an access token that lives for a minute or less has expired the moment it comes
#
# Versions   Authlib 1.9.10, requests 2.34.2.
# Behaviour  RFC 6749 5.1: expires_in is how long the token is good for. OAuth2Session asks before each use whether it is
#            still good in 60 s (its leeway), so one of 60 s or less never is: without a refresh token the first request raises
#            InvalidTokenError and nothing is sent.
# Seen       a provider that gives tokens of 60 s (some do, for the userinfo alone): get() raises "token_invalid"; with
#            leeway=0 the same request is answered.
# Meaning    userinfo right after the login fails with an error that sounds like the provider's. Give leeway=0 where a token is
#            used at once.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check Authlib==1.9.10 requests==2.34.2
"$work/venv/bin/python" -W ignore - <<'END'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

asked = []


class Provider(BaseHTTPRequestHandler):
    def say(self, content):
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.say({"access_token": "a", "token_type": "Bearer", "expires_in": 60})

    def do_GET(self):
        asked.append(self.headers["Authorization"])
        self.say({"sub": "jane"})

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"


def userinfo(**more):
    session = OAuth2Session("client", "secret", **more)
    session.fetch_token(f"{url}/token", code="c")
    try:
        return session.get(f"{url}/userinfo").json()
    except OAuthError as error:
        return type(error).__name__


plain, without = userinfo(), userinfo(leeway=0)
print("as it is:", plain, "leeway=0:", without, "requests seen:", asked)
server.shutdown()
sys.exit(0 if plain == "InvalidTokenError" and without == {"sub": "jane"} and len(asked) == 1 else 1)
END
