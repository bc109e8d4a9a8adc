-- What became of the legs of conferences, as JSON; they go with the conference. The highest number is the latest. The ID is
-- folded to lower case, as the index of the conferences has it.
CREATE TABLE calls (
    number    BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organizer TEXT COLLATE "C" NOT NULL,
    id        TEXT COLLATE "C" NOT NULL,
    details   TEXT NOT NULL
);

CREATE INDEX calls_by_conference ON calls (organizer, id, number);
