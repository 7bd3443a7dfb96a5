// Keys, ranges, endpoints, TLS and codes are part of the client's interface, but declared in the bridge: a program that
// imports the client gets them.
@_exported public import GrpcBridge
