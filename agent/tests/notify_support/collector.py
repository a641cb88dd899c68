# A collector that checks signatures by itself: `collector.py PORT MOOD KEY [CERTIFICATE KEYFILE]`. Tells its port, then a line
# of JSON for each request. MOOD is a file: a status, `hang`, or a form of 200 (`page`, `cut`, `endless`, `drip`);
# 200 where it is empty.
import hashlib, hmac, http.server, json, ssl, sys, time

FORMS = ("page", "cut", "endless", "drip")
port, mood, key = int(sys.argv[1]), sys.argv[2], sys.argv[3].encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        stamp = self.headers["x-timestamp"] or ""
        signature = hmac.new(key, body + stamp.encode(), hashlib.sha256).hexdigest()
        valid = (
            hmac.compare_digest(signature, self.headers["x-signature"] or "")
            and self.headers["authorization"] == "Bearer " + key.decode()
            and self.headers["content-type"] == "application/json"
            and abs(time.time() - int(stamp)) < 30
        )
        say = open(mood).read().strip() or "200"
        if say == "hang":
            time.sleep(3600)
        form = say if say in FORMS else ""
        status = 401 if not valid else 200 if form else int(say)
        told = {"path": self.path, "valid": valid, "status": status, "body": json.loads(body)}
        print(json.dumps(told), flush=True)
        self.send_response(status)
        if form and valid:
            return self.misbehave(form)
        # What it says is nobody's business.
        self.send_header("content-length", "7")
        self.end_headers()
        self.wfile.write(b"\0garbag")

    def misbehave(self, form):
        self.close_connection = True
        self.send_header("content-type", "text/html" if form == "page" else "application/json")
        if form == "cut":
            self.send_header("content-length", "900")
        self.end_headers()
        try:
            self.wfile.write(b"<html>Please log in</html>" if form == "page" else b'{"agent_id":')
            while form in ("endless", "drip"):
                self.wfile.write(b"x" * (1 << 16 if form == "endless" else 1))
                time.sleep(0 if form == "endless" else 0.05)
        except OSError:
            pass

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
server.daemon_threads = True
if len(sys.argv) > 4:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[4:6])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(json.dumps({"port": server.server_port}), flush=True)
server.serve_forever()
