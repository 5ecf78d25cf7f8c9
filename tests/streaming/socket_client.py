"""Runs a command over a WebSocket: URL, subprotocol, then what to send on stdin.

Prints stdout, stderr and the status as one JSON object.
"""

import json
import sys

from channels import Channels

url, protocol, stdin = sys.argv[1:4]
channels = Channels(url, protocol)
channels.client.ping("are you there")
if stdin:
    channels.send(0, stdin.encode())
if protocol.startswith("v5."):
    channels.end(0)
seen = {1: b"", 2: b"", 3: b""}
for channel, data in channels.messages():
    seen[channel] += data
print(json.dumps({name: seen[channel].decode() for name, channel in (("stdout", 1), ("stderr", 2), ("status", 3))}))
