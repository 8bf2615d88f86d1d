"""Trading on one host: what is said (records), who says it (graph), who acts (roles)."""
