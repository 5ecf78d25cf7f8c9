"""The channels that a WebSocket of a kubelet's carries: a byte, or a digit and base64, before the data."""

import base64

import websocket


class Channels:
    def __init__(self, url, protocol):
        self.text = "base64" in protocol
        self.client = websocket.create_connection(
            url.replace("http://", "ws://"), subprotocols=[protocol], timeout=60
        )
        assert self.client.getsubprotocol() == protocol, self.client.getsubprotocol()

    def send(self, channel, data):
        if self.text:
            self.client.send(chr(ord("0") + channel) + base64.b64encode(data).decode())
        else:
            self.client.send_binary(bytes([channel]) + data)

    def end(self, channel):
        """Says that nothing more comes on a channel, as the fifth version does."""
        self.client.send_binary(bytes([255, channel]))

    def messages(self):
        """Yields channel and data of each message until the other side closes."""
        while True:
            opcode, message = self.client.recv_data()
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                return
            if self.text:
                yield message[0] - ord("0"), base64.b64decode(message[1:])
            else:
                yield message[0], message[1:]
