-- Times are microseconds since the Unix epoch. What no query asks for is in `details`, as JSON.

CREATE TABLE conferences (
    organizer TEXT NOT NULL,
    -- Conference IDs are ASCII and differ by more than case; the case a conference was made with is kept.
    id        TEXT NOT NULL COLLATE NOCASE,
    version   INTEGER NOT NULL,
    expires   INTEGER NOT NULL,
    updated   INTEGER NOT NULL,
    details   TEXT NOT NULL,
    PRIMARY KEY (organizer, id)
) STRICT;

CREATE INDEX conferences_by_expiry ON conferences (expires);

CREATE TABLE accounts (
    user    TEXT NOT NULL PRIMARY KEY,
    created INTEGER NOT NULL,
    details TEXT NOT NULL
) STRICT;
