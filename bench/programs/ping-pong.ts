/**
 * Owns a client that asks and waits, one request at a time over one connection, in a thread that does nothing else: its times are
 * those of the way, with nothing corrected or left out.
 *
 *   argv: host, port, seconds -> connect -> send, recv, ... -> stdout: JSON { requests, p50Us, p99Us }
 */
import { AF_INET, IPPROTO_TCP, SOCK_STREAM, TCP_NODELAY } from '../../lib/sys/constants.js';
import { connect, must, recv, send, socket } from '../../lib/sys/libc.js';
import { Memory } from '../../lib/sys/memory.js';
import { SOCKADDR_BYTES, writeSockaddr } from '../../lib/sys/sockaddr.js';
import { setInt } from '../../lib/sys/socket.js';

const BUFFER_BYTES = 64 * 1024;
/** Requests before the first that counts: the client compiles itself. */
const WARM_UP = 2_000;
/** Bins of a microsecond; the last one takes the rest. */
const BINS = 1_000_000;

const [host = '', port = '', seconds = ''] = process.argv.slice(2);

const peer = new Memory(SOCKADDR_BYTES);
const text = Buffer.from(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
const request = new Memory(text.length);
request.bytes.set(text);
const buffer = new Memory(BUFFER_BYTES);

const fd = must('socket', socket(AF_INET, SOCK_STREAM, 0));
must('setsockopt', setInt(fd, IPPROTO_TCP, TCP_NODELAY, 1));
must('connect', connect(fd, peer.address, writeSockaddr(peer, 0, host, Number(port))));

/** Sends a request and reads `bytes` of answer, or, where that is 0, what comes first. */
function ask(bytes: number): number {
  must('send', send(fd, request.address, text.length, 0));
  let got = 0;
  do {
    const read = must('recv', recv(fd, buffer.address, BUFFER_BYTES, 0));
    if (read === 0) throw new Error('the connection was closed');
    got += read;
  } while (got < bytes);
  return got;
}

const answerBytes = ask(0);
const counts = new Uint32Array(BINS + 1);
for (let count = 0; count < WARM_UP; count++) ask(answerBytes);
const endMs = performance.now() + Number(seconds) * 1_000;
let requests = 0;
for (let beforeMs = performance.now(); beforeMs < endMs; requests++) {
  ask(answerBytes);
  const afterMs = performance.now();
  const bin = Math.min(BINS, Math.round((afterMs - beforeMs) * 1_000));
  counts[bin] = (counts[bin] ?? 0) + 1;
  beforeMs = afterMs;
}

function percentileUs(share: number): number {
  let left = requests * share;
  for (const [us, count] of counts.entries()) {
    left -= count;
    if (left <= 0) return us;
  }
  return BINS;
}

process.stdout.write(`${JSON.stringify({ requests, p50Us: percentileUs(0.5), p99Us: percentileUs(0.99) })}\n`);
