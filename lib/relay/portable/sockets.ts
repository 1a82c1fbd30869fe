/** Owns the traps of Node's TCP sockets: what its end of stream means, when FIN may be sent, and how a socket is reset. */
import type { Socket } from 'node:net';

const NOTHING = Buffer.alloc(0);

/**
 * Calls back where the end of the stream that `socket` just reported was a FIN. Where it was an RST, the socket fails with
 * ECONNRESET instead: libuv reports an RST that arrives together with data as an end of stream, and only a write finds the error.
 */
export function afterFin(socket: Socket, callback: () => void): void {
  // With bytes still to be written those will find it; and after our own FIN nothing can.
  if (!socket.writable || socket.writableLength > 0) {
    callback();
    return;
  }
  socket.write(NOTHING, (error) => {
    if (!error) callback();
  });
}

/**
 * Sends FIN when everything written is with the kernel. `end()` alone with bytes still queued would queue a shutdown too, and
 * libuv refuses to reset a socket whose shutdown is pending (EINVAL): Node then drops the handle without closing it.
 */
export function finish(socket: Socket): void {
  whenWritten(socket, () => {
    if (!socket.writableEnded) socket.end();
  });
}

/** Sends RST at once; what is queued is lost. Its `close` follows. */
export function reset(socket: Socket): void {
  if (socket.destroyed) return;
  // The one turn of the loop in which a shutdown is pending.
  if (socket.writableEnded && !socket.writableFinished) socket.once('finish', () => socket.resetAndDestroy());
  else socket.resetAndDestroy();
}

/** Sends RST when everything written is with the kernel: the peer gets the bytes that came before the RST we pass on. */
export function resetAfterWrites(socket: Socket): void {
  whenWritten(socket, () => reset(socket));
}

/** `drain` is no help here: it comes only after a write that returned false. */
function whenWritten(socket: Socket, callback: () => void): void {
  if (socket.destroyed) return;
  if (socket.writableLength === 0 || socket.writableEnded) callback();
  else
    socket.write(NOTHING, (error) => {
      if (!error && !socket.destroyed) callback();
    });
}
