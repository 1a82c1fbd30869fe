/** Owns one backend of one listener as balancing sees it: who it is, and whether it is out for a time (rule B3). */
import { type Backend, type BackendKey, backendKey } from '../model/backend.js';

/** Only `Balancer` writes the ejection fields; only the engine writes `engineData`. */
export class Target {
  readonly key: BackendKey;
  /** For what an engine keeps per backend, such as an encoded socket address. */
  engineData: unknown = undefined;

  /** Failed dials since the last success, those while it was out not counted. */
  failures = 0;
  /** Out until then, by the balancer's clock; 0 while it is in. */
  outUntilMs = 0;
  /** One client is trying it after its time was over; the others still pass it by. */
  probing = false;

  constructor(readonly backend: Backend) {
    this.key = backendKey(backend);
  }
}
