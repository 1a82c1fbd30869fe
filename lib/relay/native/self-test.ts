/**
 * Owns the proof, at start, that everything the native engine builds on works here: a container may forbid calls (seccomp), a
 * kernel may lack them, a structure may be laid out otherwise. It sends a few bytes over loopback and takes about a millisecond.
 *
 *   listen, accept4, connect -> epoll -> send -> splice -> recv -> RST seen
 *   bind with PKTINFO -> sendmmsg from 127.0.0.1 -> recvmmsg: bytes and both addresses as they should be
 */
import * as linux from '../../sys/constants.js';
import { Epoll } from '../../sys/epoll.js';
import { SystemError } from '../../sys/errors.js';
import {
  accept4,
  close,
  connect,
  errno,
  eventfd,
  memcpy,
  must,
  pipe2,
  recv,
  send,
  socket,
  splice,
  write,
} from '../../sys/libc.js';
import { Memory } from '../../sys/memory.js';
import { LOCAL_WORDS, Messages } from '../../sys/messages.js';
import { readHostPort, SOCKADDR_BYTES, writeSockaddr } from '../../sys/sockaddr.js';
import { closeReset, localHostPort, localPort, openBound, openListening, setInt, takeError } from '../../sys/socket.js';

const LOOPBACK = '127.0.0.1';
const WAIT_MS = 1_000;
const TEXT = 'kproxy-us self-test';
/** An id and a generation that show a swapped, shifted or cut field. */
const ID = 0x1234567;
const GENERATION = 0x7abcdef1;

/** Throws an error that says what does not work; leaves nothing open. */
export function selfTest(): void {
  const open: number[] = [];
  const epoll = new Epoll(4);
  const bench: Bench = {
    keep: (syscall, fd) => {
      open.push(must(syscall, fd));
      return fd;
    },
    forget: (fd) => open.splice(open.indexOf(fd), 1),
    epoll,
    memory: new Memory(256),
  };
  try {
    proveWake(bench);
    proveStream(bench);
    proveDatagrams(bench);
  } catch (cause) {
    const what = cause instanceof SystemError ? `${cause.message} in the self-test` : String(cause);
    throw new Error(`the native engine cannot run here: ${what}`, { cause });
  } finally {
    for (const fd of open) close(fd);
    epoll.close();
  }
}

/** What the proofs share. Descriptors that are kept are closed in the end. */
interface Bench {
  readonly keep: (syscall: string, fd: number) => number;
  readonly forget: (fd: number) => void;
  readonly epoll: Epoll;
  readonly memory: Memory;
}

function proveWake({ keep, epoll, memory }: Bench): void {
  const fd = keep('eventfd', eventfd(0, linux.EFD_NONBLOCK | linux.EFD_CLOEXEC));
  must('epoll_ctl', epoll.add(fd, linux.EPOLLIN, ID, GENERATION));
  memory.setPointer(0, 1);
  must('write', write(fd, memory.address, 8));
  if (epoll.wait(WAIT_MS) !== 1) throw new Error('epoll_wait does not report an eventfd');
  if (epoll.id(0) !== ID || epoll.generation(0) !== GENERATION || epoll.events(0) !== linux.EPOLLIN) {
    throw new Error('struct epoll_event is laid out otherwise');
  }
  must('epoll_ctl', epoll.remove(fd));
}

function proveStream(bench: Bench): void {
  const { keep, memory } = bench;
  const listening = keep(
    'listen',
    openListening(LOOPBACK, 0, 1, () => 0),
  );
  const flags = linux.SOCK_NONBLOCK | linux.SOCK_CLOEXEC;
  const one = keep('socket', socket(linux.AF_INET, linux.SOCK_STREAM | flags, 0));
  const length = writeSockaddr(memory, 0, LOOPBACK, localPort(listening));
  if (connect(one, memory.address, length) < 0 && errno() !== linux.EINPROGRESS) must('connect', -1);
  expectEvent(bench, listening, linux.EPOLLIN, 'a client that waits');
  memory.words[SOCKADDR_BYTES >> 2] = SOCKADDR_BYTES;
  const two = keep('accept4', accept4(listening, memory.address, memory.address + SOCKADDR_BYTES, flags));
  if (readHostPort(memory, 0) !== localHostPort(one)) throw new Error('struct sockaddr_in is laid out otherwise');
  writeText(memory);
  must('send', send(one, memory.address, TEXT.length, linux.MSG_NOSIGNAL));
  expectEvent(bench, two, linux.EPOLLIN, 'a readable socket');
  proveSplice(bench, two, one);
  bench.forget(one);
  closeReset(one);
  expectEvent(bench, two, linux.EPOLLIN | linux.EPOLLERR | linux.EPOLLHUP, 'a reset connection');
  if (takeError(two) !== linux.ECONNRESET) throw new Error('SO_ERROR does not tell ECONNRESET');
}

/** What waits at `from` goes back to its sender, by way of a pipe. */
function proveSplice(bench: Bench, from: number, to: number): void {
  const { keep, memory } = bench;
  must('pipe2', pipe2(memory.address, linux.O_NONBLOCK | linux.O_CLOEXEC));
  const [read = -1, into = -1] = memory.words;
  keep('pipe2', read);
  keep('pipe2', into);
  const how = linux.SPLICE_F_MOVE | linux.SPLICE_F_NONBLOCK;
  const moved = must('splice', splice(from, 0, into, 0, 65_536, how));
  must('splice', splice(read, 0, from, 0, moved, how));
  expectEvent(bench, to, linux.EPOLLIN, 'spliced bytes');
  memory.bytes.fill(0);
  const got = must('recv', recv(to, memory.address, memory.bytes.length, 0));
  if (got !== TEXT.length || textAt(memory, 0) !== TEXT) throw new Error('splice does not carry bytes unchanged');
}

/** One datagram from a socket on every address to itself: its source and its destination must be as dialled. */
function proveDatagrams(bench: Bench): void {
  const { keep, memory } = bench;
  const prepare = (opened: number): number => setInt(opened, linux.IPPROTO_IP, linux.IP_PKTINFO, 1);
  const fd = keep('bind', openBound(linux.SOCK_DGRAM, '0.0.0.0', 0, prepare));
  writeSockaddr(memory, 0, LOOPBACK, localPort(fd));
  const local = new Int32Array(LOCAL_WORDS);
  local[0] = memory.words[1] ?? 0;
  const out = new Messages(1);
  writeText(memory, SOCKADDR_BYTES);
  out.setPeer(0, memory.words, 0);
  out.prepare(0, TEXT.length, linux.AF_INET, local, 0);
  memcpy(out.data(0), memory.address + SOCKADDR_BYTES, TEXT.length);
  if (must('sendmmsg', out.send(fd, 0, 1)) !== 1) throw new Error('sendmmsg does not send');
  expectEvent(bench, fd, linux.EPOLLIN, 'a datagram');
  const into = new Messages(2);
  const seen = new Int32Array(LOCAL_WORDS);
  if (must('recvmmsg', into.receive(fd)) !== 1) throw new Error('recvmmsg does not receive');
  into.readLocal(0, seen, 0);
  memcpy(memory.address + SOCKADDR_BYTES, into.data(0), TEXT.length);
  const whole = into.length(0) === TEXT.length && textAt(memory, SOCKADDR_BYTES) === TEXT;
  if (!whole || readHostPort(into.peers, 0) !== `${LOOPBACK}:${localPort(fd)}` || seen[0] !== local[0]) {
    throw new Error('struct mmsghdr or in_pktinfo is laid out otherwise');
  }
}

/** Waits until epoll reports all of `events` for a descriptor. */
function expectEvent({ epoll }: Bench, fd: number, events: number, what: string): void {
  must('epoll_ctl', epoll.add(fd, events, ID, GENERATION));
  const reported = epoll.wait(WAIT_MS) === 1 ? epoll.events(0) : 0;
  must('epoll_ctl', epoll.remove(fd));
  if ((reported & events) !== events) throw new Error(`epoll does not report ${what}`);
}

function writeText({ bytes }: Memory, offset = 0): void {
  bytes.set(new TextEncoder().encode(TEXT), offset);
}

function textAt({ bytes }: Memory, offset: number): string {
  return new TextDecoder().decode(bytes.subarray(offset, offset + TEXT.length));
}
