/**
 * Owns batches of datagrams for recvmmsg(2) and sendmmsg(2): headers, buffers, peers, and the local address that each one was sent
 * to (IP_PKTINFO, ip(7); IPV6_PKTINFO, ipv6(7)).
 *
 *   receive(fd) -> count -> length(i), peers[i], local(i)
 *   setLength(i), peers[i], setLocal(i) -> send(fd, from, count)
 *
 * 64 bit layouts; glibc and musl agree on them in memory (musl has 32 bit fields with zeroed padding where glibc has size_t):
 *
 *   mmsghdr  name 0, namelen 8 (u32), iov 16, iovlen 24, control 32, controllen 40, flags 48 (u32), len 56 (u32)     64 bytes
 *   iovec    base 0, len 8                                                                                           16 bytes
 *   cmsghdr  len 0, level 8 (u32), type 12 (u32), data 16
 *     in_pktinfo   ifindex 16, spec_dst 20, addr 24             in6_pktinfo   addr 16, ifindex 32
 */
import {
  AF_INET6,
  IP_PKTINFO,
  IPPROTO_IP,
  IPPROTO_IPV6,
  IPV6_PKTINFO,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
} from './constants.js';
import { recvmmsg, sendmmsg } from './libc.js';
import { Memory } from './memory.js';
import { SOCKADDR_BYTES } from './sockaddr.js';

const HEADER_WORDS = 16;
const CONTROL_BYTES = 64;
const CONTROL_WORDS = CONTROL_BYTES / 4;
const PEER_WORDS = SOCKADDR_BYTES / 4;

/** Any datagram: 65,507 bytes over IPv4, 65,527 over IPv6 (rule U2). */
export const DATAGRAM_BYTES = 64 * 1024;

/** Words of a local address: 4 of address (an IPv4 one in the first), 1 of interface, set for link-local addresses only. */
export const LOCAL_WORDS = 5;

export class Messages {
  /** sockaddr of message `i` at word `i * 8`. */
  readonly peers: Memory;
  readonly #headers: Memory;
  readonly #iovecs: Memory;
  readonly #controls: Memory;
  /** Untouched pages cost nothing: small datagrams touch one each. */
  readonly #data: Memory;

  constructor(readonly count: number) {
    this.peers = new Memory(count * SOCKADDR_BYTES);
    this.#headers = new Memory(count * HEADER_WORDS * 4);
    this.#iovecs = new Memory(count * 16);
    this.#controls = new Memory(count * CONTROL_BYTES);
    this.#data = new Memory(count * DATAGRAM_BYTES);
    for (let i = 0; i < count; i++) {
      const header = i * HEADER_WORDS * 4;
      this.#headers.setPointer(header, this.peers.address + i * SOCKADDR_BYTES);
      this.#headers.setPointer(header + 16, this.#iovecs.address + i * 16);
      this.#headers.setPointer(header + 24, 1);
      this.#headers.setPointer(header + 32, this.#controls.address + i * CONTROL_BYTES);
      this.#iovecs.setPointer(i * 16, this.data(i));
      this.#reset(i);
    }
  }

  /** Address of the bytes of message `i`. */
  data(i: number): number {
    return this.#data.address + i * DATAGRAM_BYTES;
  }

  /** As recvmmsg(2). What an earlier call received is gone. */
  receive(fd: number): number {
    return recvmmsg(fd, this.#headers.address, this.count, MSG_DONTWAIT, 0);
  }

  /** Makes the first `count` headers ready for the next `receive`: the kernel has written lengths into them. */
  release(count: number): void {
    for (let i = 0; i < count; i++) this.#reset(i);
  }

  /** Bytes of message `i` as received. */
  length(i: number): number {
    return this.#headers.words[i * HEADER_WORDS + 14] ?? 0;
  }

  /** Copies the local address that message `i` was sent to; zeros where the kernel does not say. */
  readLocal(i: number, to: Int32Array, at: number): void {
    const { words } = this.#controls;
    const control = i * CONTROL_WORDS;
    const told = (this.#headers.words[i * HEADER_WORDS + 10] ?? 0) > 0;
    const type = told ? words[control + 3] : 0;
    to.fill(0, at, at + LOCAL_WORDS);
    if (type === IP_PKTINFO && words[control + 2] === IPPROTO_IP) {
      // spec_dst is the address to answer from; addr, that of the header, may be a broadcast address.
      to[at] = words[control + 5] ?? 0;
    } else if (type === IPV6_PKTINFO && words[control + 2] === IPPROTO_IPV6) {
      for (let word = 0; word < 4; word++) to[at + word] = words[control + 4 + word] ?? 0;
      if (isLinkLocal(to[at] ?? 0)) to[at + 4] = words[control + 8] ?? 0;
    }
  }

  /** Message `i` goes out with `length` bytes, from the address `local` if it is not zero, else from the socket's own. */
  prepare(i: number, length: number, family: number, local: Int32Array, at: number): void {
    const header = i * HEADER_WORDS;
    const { words: headers } = this.#headers;
    this.#iovecs.setPointer(i * 16 + 8, length);
    headers[header + 2] = family === AF_INET6 ? 28 : 16;
    const { words } = this.#controls;
    const control = i * CONTROL_WORDS;
    if (((local[at] ?? 0) | (local[at + 1] ?? 0) | (local[at + 2] ?? 0) | (local[at + 3] ?? 0)) === 0) {
      headers[header + 8] = 0;
      headers[header + 9] = 0;
      headers[header + 10] = 0;
      return;
    }
    this.#headers.setPointer(header * 4 + 32, this.#controls.address + i * CONTROL_BYTES);
    words[control + 1] = 0;
    if (family === AF_INET6) {
      headers[header + 10] = 40;
      words[control] = 36;
      words[control + 2] = IPPROTO_IPV6;
      words[control + 3] = IPV6_PKTINFO;
      for (let word = 0; word < 5; word++) words[control + 4 + word] = local[at + word] ?? 0;
      words[control + 9] = 0;
    } else {
      headers[header + 10] = 32;
      words[control] = 28;
      words[control + 2] = IPPROTO_IP;
      words[control + 3] = IP_PKTINFO;
      words[control + 4] = 0;
      words[control + 5] = local[at] ?? 0;
      words[control + 6] = 0;
    }
  }

  /** Copies a sockaddr of 7 words into message `i`. */
  setPeer(i: number, from: Int32Array, at: number): void {
    const { words } = this.peers;
    for (let word = 0; word < PEER_WORDS - 1; word++) words[i * PEER_WORDS + word] = from[at + word] ?? 0;
  }

  /** As sendmmsg(2), messages `first` to `end - 1`. */
  send(fd: number, first: number, end: number): number {
    return sendmmsg(fd, this.#headers.address + first * HEADER_WORDS * 4, end - first, MSG_DONTWAIT | MSG_NOSIGNAL);
  }

  #reset(i: number): void {
    const { words } = this.#headers;
    words[i * HEADER_WORDS + 2] = SOCKADDR_BYTES;
    words[i * HEADER_WORDS + 10] = CONTROL_BYTES;
    words[i * HEADER_WORDS + 12] = 0;
    this.#iovecs.setPointer(i * 16 + 8, DATAGRAM_BYTES);
  }
}

/** fe80::/10 in the first word, little-endian. */
function isLinkLocal(word: number): boolean {
  return (word & 0xc0ff) === 0x80fe;
}
