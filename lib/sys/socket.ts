/**
 * Owns the calls on a socket that are more than one call: opening one bound, options, addresses, ending with RST.
 *
 *   ip, port -> openTcpListener | openUdpSocket -> descriptor
 */
import type { Ip } from '../config/address.js';
import * as linux from './constants.js';
import { SystemError } from './errors.js';
import {
  bindSocket,
  close,
  errno,
  getpeername,
  getsockname,
  getsockopt,
  listen,
  must,
  setsockopt,
  socket,
} from './libc.js';
import { Memory } from './memory.js';
import { readHostPort, readPort, SOCKADDR_BYTES, writeSockaddr } from './sockaddr.js';

/** Scratch of this thread: a sockaddr at 0, an int or struct linger at 32, a socklen_t at 40. */
const scratch = new Memory(48);
const VALUE = 32;
const LENGTH = 40;

export function familyNumber(ip: Ip): number {
  return ip.includes(':') ? linux.AF_INET6 : linux.AF_INET;
}

/** 0, or -1 with errno set. */
export function setInt(fd: number, level: number, name: number, value: number): number {
  scratch.words[VALUE >> 2] = value;
  return setsockopt(fd, level, name, scratch.address + VALUE, 4);
}

/** The value of an option, or -1 with errno set. */
export function getInt(fd: number, level: number, name: number): number {
  scratch.words[LENGTH >> 2] = 4;
  if (getsockopt(fd, level, name, scratch.address + VALUE, scratch.address + LENGTH) < 0) return -1;
  return scratch.words[VALUE >> 2] ?? -1;
}

/** The errno of a failed non-blocking connect (connect(2), EINPROGRESS), which this clears; 0 where there is none. */
export function takeError(fd: number): number {
  return getInt(fd, linux.SOL_SOCKET, linux.SO_ERROR);
}

/** Closes with RST: socket(7) SO_LINGER with time 0 drops what is unsent. */
export function closeReset(fd: number): void {
  scratch.words[VALUE >> 2] = 1;
  scratch.words[(VALUE >> 2) + 1] = 0;
  setsockopt(fd, linux.SOL_SOCKET, linux.SO_LINGER, scratch.address + VALUE, 8);
  close(fd);
}

/** The port a socket is bound to. */
export function localPort(fd: number): number {
  scratch.words[LENGTH >> 2] = SOCKADDR_BYTES;
  must('getsockname', getsockname(fd, scratch.address, scratch.address + LENGTH));
  return readPort(scratch, 0);
}

/** `address:port` of our end; '' where the socket has none any more. */
export function localHostPort(fd: number): string {
  scratch.words[LENGTH >> 2] = SOCKADDR_BYTES;
  return getsockname(fd, scratch.address, scratch.address + LENGTH) < 0 ? '' : readHostPort(scratch, 0);
}

/** `address:port` of the other end; '' where it is gone. */
export function peerHostPort(fd: number): string {
  scratch.words[LENGTH >> 2] = SOCKADDR_BYTES;
  return getpeername(fd, scratch.address, scratch.address + LENGTH) < 0 ? '' : readHostPort(scratch, 0);
}

/**
 * Opens a bound, non-blocking socket; `prepare` sets options before the bind and reports 0 or -1. IPv6 sockets take IPv6 only.
 * Throws `SystemError`, and then nothing stays open.
 */
export function openBound(type: number, ip: Ip, port: number, prepare: (fd: number) => number): number {
  const family = familyNumber(ip);
  const fd = must('socket', socket(family, type | linux.SOCK_NONBLOCK | linux.SOCK_CLOEXEC, 0));
  const fail = (syscall: string): never => {
    const number = errno();
    close(fd);
    throw new SystemError(syscall, number);
  };
  if (family === linux.AF_INET6 && setInt(fd, linux.IPPROTO_IPV6, linux.IPV6_V6ONLY, 1) < 0) fail('setsockopt');
  if (prepare(fd) < 0) fail('setsockopt');
  const length = writeSockaddr(scratch, 0, ip, port);
  if (bindSocket(fd, scratch.address, length) < 0) fail('bind');
  return fd;
}

/** As `openBound`, and listens. */
export function openListening(ip: Ip, port: number, backlog: number, prepare: (fd: number) => number): number {
  const fd = openBound(linux.SOCK_STREAM, ip, port, (opened) =>
    setInt(opened, linux.SOL_SOCKET, linux.SO_REUSEADDR, 1) < 0 ? -1 : prepare(opened),
  );
  if (listen(fd, backlog) < 0) {
    const number = errno();
    close(fd);
    throw new SystemError('listen', number);
  }
  return fd;
}
