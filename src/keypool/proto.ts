/** The text of `proto/keyserver.proto`, here so that a built program needs no file; a test holds the two equal. */
export const KEYSERVER_PROTO = `// The key server of a Q104 lab. TLS 1.3 with certificates on both sides; a caller is the node its certificate's CN names.
syntax = "proto3";

package q104.v1;

service KeyServer {
  // Asks for more key on a channel the caller sends on. Waits up to the call's deadline (at most 30 s) for at least one
  // slot. What is still wanted then comes by Blocks, if the caller has such a stream open; otherwise the want is dropped.
  // INVALID_ARGUMENT: number out of range. NOT_FOUND: no such link. PERMISSION_DENIED: not the channel's sender, or not
  // its quota. FAILED_PRECONDITION: the instance has no Blocks stream. RESOURCE_EXHAUSTED: no key until the deadline, too
  // many calls at once or in a second, or the other end is far behind.
  rpc GetKey(GetKeyRequest) returns (GetKeyReply);
  // GetKey for those who ask often: one stream, many questions, each answered once by its number, in any order. The same
  // rules, but an instance is needed: the key comes by Blocks alone. A refusal is an answer, and the stream goes on. Who asks
  // much puts what has come together into one message, and lets the key itself be the answer (further, quiet).
  // FAILED_PRECONDITION, INVALID_ARGUMENT, ... in an answer: as for GetKey. The stream itself ends with RESOURCE_EXHAUSTED: the
  // node has 16 streams open already, or does not read its answers.
  rpc GetKeys(stream GetKeysRequest) returns (stream GetKeysReply);
  rpc KeyPoolStatus(Empty) returns (PoolStatus);
  // The pool's state every 100 ms and whenever its level changes. A slow reader misses some.
  // RESOURCE_EXHAUSTED: the node has 16 streams open already.
  rpc WatchPool(Empty) returns (stream PoolStatus);
  // Key of both directions of the caller's links, from where its copies end, in order per channel. Blocks stay on the
  // server until acknowledged by ReportUse. One stream a node: a new one ends the old one with ABORTED.
  // NOT_FOUND, PERMISSION_DENIED: not a link of the caller. FAILED_PRECONDITION: the caller has key this server knows nothing
  // of. RESOURCE_EXHAUSTED: the caller reads too slowly; what it has not got it gets when it comes again.
  rpc Blocks(BlocksRequest) returns (stream KeyBlock);
  rpc ReportUse(ReportUseRequest) returns (Empty);
}

message Empty {}

// channel = 2 x link number + direction; direction 0 is from the link's first-named end to its second.
// A slot is 4 bytes of a channel's key stream, counted from 0.

message GetKeyRequest {
  uint32 channel = 1;
  // How many more slots: 1..65536. Not idempotent.
  uint32 slots = 2;
  // In place of slots: where the stream is to reach, at most 65536 slots beyond its end. Idempotent.
  optional uint64 up_to_slot = 3;
  // If set: grant only while the process of this name (BlocksRequest) has its Blocks stream open, so that no key is assigned
  // before the server knows where the process's copies end. The key then comes by Blocks alone.
  string instance = 4;
  // So far the key is for the chain of the highest priority, which may draw on the reserve that is kept for it.
  uint64 top_up_to_slot = 5;
  // Which quota pays, where the pool is divided into quotas and several of them name the channel.
  string quota = 6;
}

message GetKeyReply {
  repeated KeyBlock blocks = 1;
  // The stream's length on the server.
  uint64 assigned_slots = 2;
}

message GetKeysRequest {
  // The caller's number of this question.
  uint32 request = 1;
  GetKeyRequest get_key = 2;
  // How long to wait for the first slot, at most 30000.
  uint32 wait_ms = 3;
  // Further questions, each as if it came in a message of its own; at most 255, and these have no further ones.
  repeated GetKeysRequest further = 4;
  // If set: new key, which comes by Blocks, is all the answer. Answered as ever is what is refused, and what is there already.
  bool quiet = 5;
}

message GetKeysReply {
  uint32 request = 1;
  // A status code of gRPC; 0: granted, as GetKeyReply.
  uint32 code = 2;
  string details = 3;
  uint64 assigned_slots = 4;
}

message KeyBlock {
  uint32 channel = 1;
  uint64 slot = 2;
  // Whole slots; none at all when the block only says where the stream goes on: what the caller lacks before it is lost for
  // good, and a sender is to use nothing before it.
  bytes key = 3;
  // Further blocks, in the order in which they are to be taken, for who says that it reads them (BlocksRequest); these have no
  // further ones.
  repeated KeyBlock further = 4;
}

message StreamPosition {
  uint32 channel = 1;
  uint64 slot = 2;
}

message BlocksRequest {
  repeated uint32 links = 1;
  // Where the caller's copies end; a channel not named starts at 0.
  repeated StreamPosition have = 2;
  // Random, one for the life of the caller's process. Key that an earlier process of the same node was given to send with
  // may be used already; a new process never gets it again, it is discarded.
  string instance = 3;
  // The caller reads further blocks in one message.
  bool together = 4;
}

message StreamUse {
  uint32 channel = 1;
  // The caller has this much of the stream, so the server may forget it.
  uint64 held_slots = 2;
  // The stream is used up to here; counts when the caller is the sender.
  uint64 used_slots = 3;
  // Of the used slots, those that the caller's process has skipped so far and that protected nothing.
  uint64 discarded_slots = 4;
}

message ReportUseRequest {
  repeated StreamUse uses = 1;
}

enum StockLevel {
  STOCK_LEVEL_UNSPECIFIED = 0;
  STOCK_LEVEL_NORMAL = 1;
  STOCK_LEVEL_WARN = 2;
  STOCK_LEVEL_RECONFIGURE = 3;
  STOCK_LEVEL_PROTECT = 4;
}

// generated = used + expired + discarded + reserved + pool.
message PoolBooks {
  uint64 generated_bits = 1;
  uint64 used_bits = 2;
  uint64 expired_bits = 3;
  uint64 discarded_bits = 4;
  uint64 reserved_bits = 5;
  uint64 pool_bits = 6;
}

message LinkState {
  uint32 link = 1;
  bool up = 2;
  double rate_bps = 3;
  double delay_ms = 4;
}

message PoolStatus {
  // Lab time: ms since the start of the run.
  double t_ms = 1;
  StockLevel level = 2;
  double safe_bits = 3;
  double th_bits = 4;
  double cap_bits = 5;
  PoolBooks books = 6;
  repeated LinkState links = 7;
}
`
