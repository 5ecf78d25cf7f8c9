"""Forwards ports over one WebSocket: URL, subprotocol, then how many ports the URL is for.

Sends a line to each port and prints, as one JSON object by channel, the port that each channel
begins with and the text behind it.
"""

import base64
import json
import struct
import sys

import websocket

url, protocol, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
text = "base64" in protocol
client = websocket.create_connection(
    url.replace("http://", "ws://"), subprotocols=[protocol], timeout=60
)
assert client.getsubprotocol() == protocol, client.getsubprotocol()
for number in range(count):
    data = f"line {number}\n".encode()
    if text:
        client.send(chr(ord("0") + 2 * number) + base64.b64encode(data).decode())
    else:
        client.send_binary(bytes([2 * number]) + data)
seen = {channel: b"" for channel in range(2 * count)}


def complete(number):
    data, error = seen[2 * number], seen[2 * number + 1]
    return len(data) >= 2 and (data.endswith(b"\n") or len(error) > 2)


while not all(complete(number) for number in range(count)):
    opcode, message = client.recv_data()
    if opcode == websocket.ABNF.OPCODE_CLOSE:
        break
    if text:
        channel, data = message[0] - ord("0"), base64.b64decode(message[1:])
    else:
        channel, data = message[0], message[1:]
    seen[channel] += data
client.close()
print(json.dumps({channel: [struct.unpack("<H", data[:2])[0], data[2:].decode()] for channel, data in seen.items()}))
