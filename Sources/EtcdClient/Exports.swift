// Keys, ranges, endpoints, TLS and codes are part of the client's interface, and of the bridge under it: who imports
// the client has them.
@_exported public import GrpcBridge
