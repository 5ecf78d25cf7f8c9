"""Runs a command over a WebSocket: URL, subprotocol, then what to send on stdin.

Prints stdout, stderr and the status as one JSON object.
"""

import base64
import json
import sys

import websocket

url, protocol, stdin = sys.argv[1:4]
text = "base64" in protocol
client = websocket.create_connection(
    url.replace("http://", "ws://"), subprotocols=[protocol], timeout=60
)
assert client.getsubprotocol() == protocol, client.getsubprotocol()


def send(channel, data):
    if text:
        client.send(chr(ord("0") + channel) + base64.b64encode(data).decode())
    else:
        client.send_binary(bytes([channel]) + data)


client.ping("are you there")
if stdin:
    send(0, stdin.encode())
if protocol.startswith("v5."):
    client.send_binary(bytes([255, 0]))
seen = {1: b"", 2: b"", 3: b""}
while True:
    opcode, message = client.recv_data()
    if opcode == websocket.ABNF.OPCODE_CLOSE:
        break
    if text:
        channel, data = message[0] - ord("0"), base64.b64decode(message[1:])
    else:
        channel, data = message[0], message[1:]
    seen[channel] += data
print(json.dumps({name: seen[channel].decode() for name, channel in (("stdout", 1), ("stderr", 2), ("status", 3))}))
