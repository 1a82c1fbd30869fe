/**
 * Owns what every engine has to do: one suite over real sockets, run against each of them.
 *
 *   engineSuite('portable engine', (options, events) => createPortableEngine(options, events))
 */
import { balancingSuite } from './balancing.js';
import { listeningSuite } from './listening.js';
import type { MakeEngine } from './rig.js';
import { tcpBytesSuite } from './tcp-bytes.js';
import { tcpDialSuite } from './tcp-dial.js';
import { tcpDrainSuite } from './tcp-drain.js';
import { tcpEndSuite } from './tcp-end.js';
import { udpSuite } from './udp.js';

export function engineSuite(name: string, make: MakeEngine): void {
  describe(name, () => {
    tcpBytesSuite(make);
    tcpDialSuite(make);
    tcpEndSuite(make);
    tcpDrainSuite(make);
    listeningSuite(make);
    balancingSuite(make);
    udpSuite(make);
  });
}
