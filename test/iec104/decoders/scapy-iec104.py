"""What scapy's IEC-104 layer reads in a capture, and the octets it makes of given values; both as JSON.

stdin   {"capture": path, "build": [{"header": {field: value}, "objects": [{field: value}]}]}
stdout  {"read": [{"message", "header", "objects"}], "built": [hex or null for a type without a class]}

Fields are named as in scapy; octets are hex, floats that JSON has no number for are strings.
"""
import json
import logging
import math
import sys

logging.getLogger("scapy").setLevel(logging.ERROR)

from scapy.contrib.scada import iec104
from scapy.layers.inet import TCP
from scapy.utils import PcapReader


def shown(value):
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def fields(packet):
    """The human values of a packet's own fields."""
    return {f.name: shown(getattr(packet, f.name)) for f in packet.fields_desc if f.name != "io"}


def read(packet):
    message = packet[TCP].payload
    objects = [fields(o) for o in message.io] if hasattr(message, "io") else []
    header = fields(message)
    if "type_id" in header:
        header["type_name"] = iec104.IEC104_IO_NAMES.get(message.type_id)
    return {"message": type(message).__name__, "header": header, "objects": objects}


def given(field, value):
    """The value as scapy wants it when it builds."""
    if isinstance(field, iec104.IEC60870_5_4_NormalizedFixPoint):
        return round(value * 32768)
    if isinstance(field, iec104.LEIEEEFloatField):
        return float(value)
    return bytes.fromhex(value) if field.name == "data" else value


# What scapy fills in by itself when it builds.
OWN = ("message", "start", "apdu_length", "num_io", "type_id", "sq")


def build(asdu):
    header = asdu["header"]
    type_id = header["type_id"]
    classes = iec104.IEC104_IO_CLASSES if header["sq"] else iec104.IEC104_IO_WITH_IOA_CLASSES
    if type_id not in classes:
        return None
    io_class = classes[type_id]
    by_name = {f.name: f for f in io_class.fields_desc}
    objects = [
        io_class(**{n: given(by_name[n], v) for n, v in o.items() if n != "segment_length"})
        for o in asdu["objects"]
    ]
    message = getattr(iec104, header["message"])
    return bytes(message(io=objects, **{n: v for n, v in header.items() if n not in OWN})).hex()


task = json.load(sys.stdin)
with PcapReader(task["capture"]) as packets:
    answer = {
        "read": [read(packet) for packet in packets],
        "built": [build(asdu) for asdu in task["build"]],
    }
json.dump(answer, sys.stdout)
