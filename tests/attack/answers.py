"""What a call answers, so that two answers can be compared: that about somebody else's rows, and that about rows that there are not."""

import re
from dataclasses import fields, replace

import psycopg

from world import NOBODY

# What is of the moment: ids that were made on the way, times, keys.
FRESH = re.compile(r"\b1[1-7]\d{4}\b")
MOMENT = re.compile(r"datetime\.datetime\([^()]*(\([^()]*\))?[^()]*\)|UUID\('[^']*'\)|[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.+:\d]*")
# A call that waits for somebody is refused with this.
WAITED = "55P03"


def answer(connection, statement):
    """(SQLSTATE, what was said) of a call, in the transaction that is open."""
    notices = []

    def hear(notice):
        notices.append(notice.message_primary)

    connection.add_notice_handler(hear)
    try:
        cursor = connection.execute(statement)
        rows = cursor.fetchall() if cursor.description else cursor.rowcount
        return None, f"{rows} {notices}"
    except psycopg.Error as error:
        said = error.diag
        return error.sqlstate, " ".join(str(part) for part in (said.message_primary, said.message_detail, said.message_hint, notices))
    finally:
        connection.remove_notice_handler(hear)


def alike(said, target):
    """What was said, with nobody's names and ids in place of the target's."""
    for field in fields(target):
        of, nobodys = str(getattr(target, field.name)), str(getattr(NOBODY, field.name))
        if of != nobodys and len(of) > 1:
            said = re.sub(rf"\b{re.escape(of)}\b", nobodys, said)
    return MOMENT.sub("<moment>", FRESH.sub("<fresh>", said))


def mixed(theirs, own):
    """The ways to aim: at their rows where they are, at their rows as if they were here, at one's own as if they were there."""
    return {
        "theirs": theirs,
        "theirs, in the own collection": replace(theirs, collection=own.collection),
        "one's own, in their collection": replace(own, collection=theirs.collection),
    }


def clip(said, most=160):
    return said if len(said) <= most else said[:most] + "..."
