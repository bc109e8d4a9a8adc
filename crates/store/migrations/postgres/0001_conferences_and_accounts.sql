-- Times are microseconds since the Unix epoch. What no query asks for is in `details`, as JSON; TEXT keeps it to the byte.
-- The collation is that of bytes, so that order and letter case are the same whatever language the database is set to.

CREATE TABLE conferences (
    organizer TEXT COLLATE "C" NOT NULL,
    id        TEXT COLLATE "C" NOT NULL,
    version   BIGINT NOT NULL,
    expires   BIGINT NOT NULL,
    updated   BIGINT NOT NULL,
    details   TEXT NOT NULL
);

-- Conference IDs are ASCII and differ by more than case; the case a conference was made with is kept.
CREATE UNIQUE INDEX conferences_by_key ON conferences (organizer, lower(id));

CREATE INDEX conferences_by_expiry ON conferences (expires);

CREATE TABLE accounts (
    "user"  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    created BIGINT NOT NULL,
    details TEXT NOT NULL
);
