-- Identifies the queue. It has one row.
CREATE TABLE queue (id uuid NOT NULL);
INSERT INTO queue VALUES (gen_random_uuid());
