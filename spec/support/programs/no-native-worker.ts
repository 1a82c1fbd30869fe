/** A relay thread on a machine where the native engine does not load. */
import { parentPort, workerData } from 'node:worker_threads';
import type { ThreadData } from '../../../lib/relay/thread/messages.js';

if ((workerData as ThreadData).engine === 'native') {
  parentPort?.postMessage({ kind: 'unavailable', message: 'native is not to be had' });
} else await import('../../../lib/relay/thread/worker.js');
