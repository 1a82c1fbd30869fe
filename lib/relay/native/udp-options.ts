/** Owns how UDP sockets are opened. */
import * as linux from '../../sys/constants.js';
import { openBound, setInt } from '../../sys/socket.js';
import type { ListenerSpec } from '../engine.js';

/** socket(7): the kernel bounds it by net.core.rmem_max. A burst of all clients meets one socket. */
const BUFFER_BYTES = 1024 * 1024;

/** True where datagrams to many addresses arrive at one socket, which must then be told which one to answer from (rule U1). */
export function isWildcard(host: string): boolean {
  return host === '0.0.0.0' || host === '::';
}

/** Opens a receiving socket. Throws `SystemError`. */
export function openUdpListener({ host }: ListenerSpec, port: number): number {
  return openBound(linux.SOCK_DGRAM, host, port, (fd) => {
    setInt(fd, linux.SOL_SOCKET, linux.SO_RCVBUF, BUFFER_BYTES);
    setInt(fd, linux.SOL_SOCKET, linux.SO_SNDBUF, BUFFER_BYTES);
    if (!isWildcard(host)) return 0;
    return host === '::'
      ? setInt(fd, linux.IPPROTO_IPV6, linux.IPV6_RECVPKTINFO, 1)
      : setInt(fd, linux.IPPROTO_IP, linux.IP_PKTINFO, 1);
  });
}
