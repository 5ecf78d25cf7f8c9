//! Exec over a WebSocket, by a client that is not `kubectl`.
