/**
 * Owns socket addresses as the kernel lays them out, and their text.
 *
 *   Ip, port -> writeSockaddr -> sockaddr_in, sockaddr_in6 -> connect, bind
 *   accept4, recvmmsg -> sockaddr -> readIp, readPort -> text
 *
 *   ip(7)    sockaddr_in   family 0 (u16), port 2 (big-endian), address 4, zero 8..15            16 bytes
 *   ipv6(7)  sockaddr_in6  family 0 (u16), port 2 (big-endian), flow 4, address 8, scope 24      28 bytes
 */
import { hostPort, type Ip, parseIp } from '../config/address.js';
import { AF_INET, AF_INET6 } from './constants.js';
import type { Memory } from './memory.js';

export const SOCKADDR_IN_BYTES = 16;
export const SOCKADDR_IN6_BYTES = 28;
/** Room for either, aligned. */
export const SOCKADDR_BYTES = 32;

/** Writes 32 bytes at `offset` (a multiple of 4) and returns the length that counts. */
export function writeSockaddr(memory: Memory, offset: number, ip: Ip, port: number): number {
  const { bytes } = memory;
  bytes.fill(0, offset, offset + SOCKADDR_BYTES);
  const v6 = ip.includes(':');
  memory.shorts[offset >> 1] = v6 ? AF_INET6 : AF_INET;
  bytes[offset + 2] = port >> 8;
  bytes[offset + 3] = port & 0xff;
  bytes.set(v6 ? bytesOf6(ip) : bytesOf4(ip), offset + (v6 ? 8 : 4));
  return v6 ? SOCKADDR_IN6_BYTES : SOCKADDR_IN_BYTES;
}

export function readPort({ bytes }: Memory, offset: number): number {
  return ((bytes[offset + 2] ?? 0) << 8) | (bytes[offset + 3] ?? 0);
}

/** The canonical text of the address: equal addresses give equal text. */
export function readIp(memory: Memory, offset: number): Ip {
  return memory.shorts[offset >> 1] === AF_INET6
    ? readIp6(memory.bytes, offset + 8)
    : `${memory.bytes[offset + 4]}.${memory.bytes[offset + 5]}.${memory.bytes[offset + 6]}.${memory.bytes[offset + 7]}`;
}

/** `10.0.0.1:80`, `[fd00::1]:80`. */
export function readHostPort(memory: Memory, offset: number): string {
  return hostPort(readIp(memory, offset), readPort(memory, offset));
}

function readIp6(bytes: Uint8Array, offset: number): Ip {
  const groups: string[] = [];
  for (let at = offset; at < offset + 16; at += 2)
    groups.push((((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0)).toString(16));
  return parseIp(groups.join(':')) ?? '::';
}

function bytesOf4(ip: Ip): number[] {
  return ip.split('.').map(Number);
}

/** RFC 4291 2.2: groups, one `::` for a run of zeros, perhaps a dotted quad at the end. */
function bytesOf6(ip: Ip): number[] {
  const dot = ip.lastIndexOf(':') + 1;
  const [a = 0, b = 0, c = 0, d = 0] = bytesOf4(ip.slice(dot));
  const hex = ip.includes('.')
    ? `${ip.slice(0, dot)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`
    : ip;
  const [head = '', tail] = hex.split('::');
  const before = groupsOf(head);
  const after = groupsOf(tail ?? '');
  const zeros = new Array<number>(8 - before.length - after.length).fill(0);
  return [...before, ...zeros, ...after].flatMap((group) => [group >> 8, group & 0xff]);
}

function groupsOf(text: string): number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
}
