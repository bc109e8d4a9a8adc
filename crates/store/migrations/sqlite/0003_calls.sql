-- What became of the legs of conferences, as JSON; they go with the conference. The highest number is the latest.
CREATE TABLE calls (
    number    INTEGER PRIMARY KEY,
    organizer TEXT NOT NULL,
    id        TEXT NOT NULL COLLATE NOCASE,
    details   TEXT NOT NULL,
    FOREIGN KEY (organizer, id) REFERENCES conferences (organizer, id) ON DELETE CASCADE
) STRICT;

CREATE INDEX calls_by_conference ON calls (organizer, id, number);
