//! A replay-attack suite for servers that speak DPoP (RFC 9449).
