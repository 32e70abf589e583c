"""An S3 server on loopback with an empty bucket called test: python -m tests.s3_server. Prints its URL."""

import threading
import urllib.request

from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
url = f"http://{host}:{port}"
urllib.request.urlopen(urllib.request.Request(f"{url}/test", method="PUT"), timeout=10)
print(url, flush=True)
threading.Event().wait()
