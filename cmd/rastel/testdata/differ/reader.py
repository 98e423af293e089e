# Reads messages, each after its length in four bytes, and answers each with one line of JSON:
# the leaves that Python's email package shows, with their names, type and content in base64.
import base64
import email
import email.policy
import json
import struct
import sys


def content(part):
    body = part.get_payload(decode=True)
    return b"" if body is None else body


def leaves(raw, policy):
    for part in email.message_from_bytes(raw, policy=policy).walk():
        if part.is_multipart():
            continue
        names = []
        for get in (part.get_filename, lambda: part.get_param("name")):
            try:
                name = get()
            except Exception:  # a name that Python cannot read is none
                continue
            if isinstance(name, tuple):
                name = name[2]
            if name:
                names.append(str(name))
        yield {"type": part.get_content_type(), "names": names, "content": base64.b64encode(content(part)).decode()}


def answer(raw):
    out = []
    for policy in (email.policy.compat32, email.policy.default):
        try:
            for leaf in leaves(raw, policy):
                if leaf not in out:
                    out.append(leaf)
        except Exception:  # it shows nothing from there on
            pass
    return out


while True:
    head = sys.stdin.buffer.read(4)
    if len(head) < 4:
        break
    raw = sys.stdin.buffer.read(struct.unpack(">I", head)[0])
    sys.stdout.write(json.dumps(answer(raw)) + "\n")
    sys.stdout.flush()
