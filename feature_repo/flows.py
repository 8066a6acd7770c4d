"""The declaration of `flows`, the detector that is shipped: network flows, keyed by source host.

Pure. `transforms.encode_flows` encodes the request-time fields; the training room counts the windows."""

from typing import Final

from feature_repo.declaration import Column, Declaration, Transform, Window

HOST: Final = Column("host", "BYTES", description="address of the host that opened the flow: a key, never a feature")

WINDOWS: Final = (Window(10, ttl_s=60), Window(60, ttl_s=5 * 60), Window(600, ttl_s=30 * 60))

AGGREGATES: Final = (
    Column("flows", "FP64", 0.0, "flows of the host that ended in the window"),
    Column("destinations", "FP64", 0.0, "distinct destination addresses among them"),
    Column("ports", "FP64", 0.0, "distinct destination ports among them"),
    Column("failed_ratio", "FP64", 0.0, "share of them without an answer, or refused"),
    Column("total_bytes", "FP64", 0.0, "bytes of them, both directions"),
    Column("sent_bytes", "FP64", 0.0, "bytes of them sent by the host"),
    Column("total_packets", "FP64", 0.0, "packets of them, both directions"),
)

REQUEST_FIELDS: Final = (
    Column("proto", "BYTES", description="protocol: tcp, udp, icmp, ..."),
    Column("state", "BYTES", description="transaction state as argus writes it: CON, INT, S_RA, FSPA_FSPA, ..."),
    Column("sport", "INT64", description="source port; -1 where there is none"),
    Column("dport", "INT64", description="destination port; -1 where there is none"),
    Column("duration", "FP64", description="seconds from the first to the last packet"),
    Column("packets", "INT64", description="packets, both directions"),
    Column("bytes", "INT64", description="bytes, both directions"),
    Column("src_bytes", "INT64", description="bytes sent by the source"),
)

ENCODED: Final = (
    Column("proto", "FP64", 0.0, "number of the protocol in transforms.PROTOCOLS; 0 for any other"),
    Column("state", "FP64", 0.0, "number of the state in transforms.STATES; 0 for any other and for TCP flags"),
    Column("source_flags", "FP64", 0.0, "TCP flags the source sent, as bits"),
    Column("destination_flags", "FP64", 0.0, "TCP flags the destination sent, as bits"),
    Column("sport_class", "FP64", 0.0, "0 none, 1 below 1024, 2 below 49152, 3 above"),
    Column("dport_class", "FP64", 0.0, "as sport_class"),
    Column("dport_service", "FP64", 0.0, "number of the port in transforms.SERVICES; 0 for any other"),
    Column("duration", "FP64", 0.0, "seconds"),
    Column("packets", "FP64", 0.0),
    Column("bytes", "FP64", 0.0),
    Column("src_bytes", "FP64", 0.0),
    Column("src_ratio", "FP64", 0.0, "share of the bytes sent by the source"),
    Column("bytes_per_packet", "FP64", 0.0),
    Column("packets_per_s", "FP64", 0.0, "0 for a flow without duration"),
)

FLOWS: Final = Declaration(
    name="flows",
    keys=(HOST,),
    windows=WINDOWS,
    aggregates=AGGREGATES,
    request_fields=REQUEST_FIELDS,
    transform=Transform("feature_repo.transforms:encode_flows", ENCODED),
    view_prefix="host",
    request_view="flow",
)
