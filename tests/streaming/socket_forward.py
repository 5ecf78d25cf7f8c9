"""Forwards ports over one WebSocket: URL, subprotocol, then how many ports the URL is for.

Sends a line to each port and prints, as one JSON object by channel, the port that each channel
begins with and the text behind it.
"""

import json
import struct
import sys

from channels import Channels

url, protocol, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
channels = Channels(url, protocol)
for number in range(count):
    channels.send(2 * number, f"line {number}\n".encode())
seen = {channel: b"" for channel in range(2 * count)}


def complete(number):
    data, error = seen[2 * number], seen[2 * number + 1]
    return len(data) >= 2 and (data.endswith(b"\n") or len(error) > 2)


for channel, data in channels.messages():
    seen[channel] += data
    if all(complete(number) for number in range(count)):
        break
channels.client.close()
print(json.dumps({channel: [struct.unpack("<H", data[:2])[0], data[2:].decode()] for channel, data in seen.items()}))
