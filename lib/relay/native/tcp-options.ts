/**
 * Owns the options of relayed TCP sockets (rule T6). Accepted sockets inherit those of the listening one (tcp(7)), which costs no
 * call per connection.
 */
import * as linux from '../../sys/constants.js';
import { openListening, setInt } from '../../sys/socket.js';
import type { ListenerSpec } from '../engine.js';

/** listen(2): the kernel bounds it by net.core.somaxconn. */
const BACKLOG = 4096;
const KEEPALIVE_S = 60;
/** Probes after the first: TCP_USER_TIMEOUT says when to give up, this only how soon it is noticed. */
const KEEPALIVE_INTERVAL_S = 10;
const USER_TIMEOUT_MS = 30_000;

/** Opens a listening socket. Throws `SystemError`. */
export function openTcpListener({ host }: ListenerSpec, port: number): number {
  return openListening(host, port, BACKLOG, (fd) =>
    setInt(fd, linux.IPPROTO_TCP, linux.TCP_NODELAY, 1) < 0 ? -1 : setLasting(fd),
  );
}

/**
 * Before connect(2): the handshake's last ACK waits for the first bytes to the backend, and the ACK of an answer that ends with FIN
 * for our own FIN. Each saves a packet through both hosts' stacks, a tenth of what a short connection costs (tcp(7), TCP_QUICKACK).
 */
export function holdAcks(fd: number): void {
  setInt(fd, linux.IPPROTO_TCP, linux.TCP_QUICKACK, 0);
}

/**
 * Sends the ACK that waits, and holds back no more: a backend that speaks first must not wait for it, nor one whose Nagle holds
 * the second part of an answer until the first is acknowledged.
 */
export function releaseAcks(fd: number): void {
  setInt(fd, linux.IPPROTO_TCP, linux.TCP_QUICKACK, 1);
}

/** Sends what MSG_MORE holds back: setting TCP_NODELAY does, also where it is set (tcp(7)). */
export function push(fd: number): void {
  setInt(fd, linux.IPPROTO_TCP, linux.TCP_NODELAY, 1);
}

/** For a backend's socket that turns out to last. Nagle is turned off by the pump, at the second send. */
export function setBackendOptions(fd: number): void {
  setLasting(fd);
}

function setLasting(fd: number): number {
  return Math.min(
    setInt(fd, linux.SOL_SOCKET, linux.SO_KEEPALIVE, 1),
    setInt(fd, linux.IPPROTO_TCP, linux.TCP_KEEPIDLE, KEEPALIVE_S),
    setInt(fd, linux.IPPROTO_TCP, linux.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S),
    setInt(fd, linux.IPPROTO_TCP, linux.TCP_USER_TIMEOUT, USER_TIMEOUT_MS),
  );
}
