/** Owns the making of UDP sockets without a turn of the loop: bound, or connected, or failed at once. */
import { createSocket, type Socket, type SocketOptions } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { hostPort } from '../../config/address.js';
import type { Backend } from '../../model/backend.js';
import { ListenError } from '../engine.js';
import { codeOf } from './context.js';

/** A datagram of 65,507 bytes costs the kernel about twice that; bursts have to wait somewhere. Capped by net.core.rmem_max. */
const RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024;
/** What Node may queue for a socket whose kernel buffer is full. */
const MAX_QUEUED_BYTES = 1024 * 1024;

type Lookup = NonNullable<SocketOptions['lookup']>;

/** Only addresses are asked for. dgram calls it with (address, family, callback), whatever its types say. */
const lookup: Lookup = (address, options, callback) => {
  const family = Number(options) === 6 ? 6 : 4;
  callback(null, address, family);
};

/** A socket bound to one address. Throws `ListenError`. */
export function bindUdp(address: string, port: number): Socket {
  const type = isIPv6(address) ? 'udp6' : 'udp4';
  const socket = createSocket({ type, ipv6Only: type === 'udp6', lookup, recvBufferSize: RECEIVE_BUFFER_BYTES });
  let failure: Error | undefined;
  let bound = false;
  const onError = (error: Error): void => {
    failure ??= error;
  };
  socket.on('error', onError);
  socket.once('listening', () => {
    bound = true;
  });
  try {
    // With a lookup that answers at once, `listening` or `error` comes before this returns.
    socket.bind({ address, port, exclusive: true });
  } catch (error) {
    onError(error as Error);
  }
  if (bound) {
    socket.off('error', onError);
    return socket;
  }
  socket.close();
  throw new ListenError(codeOf(failure), `cannot listen on ${hostPort(address, port)}/UDP`, { cause: failure });
}

/**
 * A socket connected to a backend: only its datagrams come in, and its refusals come as errors. Calls back once, never before
 * this has returned; the socket is then the receiver's, without any handler, and has to be closed in either case.
 */
export function connectUdp({ host, port }: Backend, done: (error: Error | undefined) => void): Socket {
  const socket = createSocket({ type: isIPv6(host) ? 'udp6' : 'udp4', lookup });
  const once = (error?: Error): void => {
    socket.off('error', onError);
    done(error);
  };
  // A socket without a descriptor fails while `connect` is running.
  const onError = (error: Error): void => queueMicrotask(() => once(error));
  socket.once('error', onError);
  socket.connect(port, host, once);
  return socket;
}

export function hasRoom(socket: Socket): boolean {
  return socket.getSendQueueSize() < MAX_QUEUED_BYTES;
}
