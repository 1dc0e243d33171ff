/*
 * A family of refresh tokens on Redis: two nodes, two windows of one honest client that share what it stored, a thief who has every token
 * and, with THIEF_HAS_KEY, the key as well, lost answers, a revocation, and a failover to a replica that lags behind. README.md maps each
 * step to the code. That no proof is accepted twice is what ledger.pml shows; here it is taken for granted.
 *
 * A token is told by its generation: it is computed from family and generation, so there is nothing else to it. Time is counted in
 * rotations. A seeded bug is one of the BUG_ names, a known limit one of the LIMIT_ names; docs/model/run looks for each of them.
 */
#ifndef REQUESTS
#define REQUESTS 2          /* of the first window */
#endif
#ifndef OTHER_REQUESTS
#define OTHER_REQUESTS 1    /* of the second */
#endif
#ifndef THEFTS
#define THEFTS   2          /* times the thief presents a token */
#endif

#define OK      1           /* rotated, repeated or rolled forward */
#define REUSED  2
#define REFUSED 3
#define UNKNOWN 4           /* no answer, or no confirmation of the replica: 503 */

typedef Record { byte gen; bool revoked; byte rotated; bool late; byte row }

Record stored;              /* on the primary */
Record nothing;             /* stays zero */
Record behind;              /* on the replica */
byte server = 1;            /* identity of the primary; the replay epoch moves with it */
bool failed_over, answer_lost;

byte connected[2];
Record remembered[2];       /* what each node wrote last, in standard durability */
bool remembers[2];

byte clock;                 /* rotations so far */
byte held;                  /* the token that the client stored */
bool captured;              /* a proof of the client was seen by the thief after it was used */
bool revoking, revoked_acknowledged;

#define copy(to, from) to.gen = from.gen; to.revoked = from.revoked; to.rotated = from.rotated; to.late = from.late; to.row = from.row

/* Remembered::note: the newest record that was acknowledged, and revoked if any of them was. */
inline note(n, mine)
{
  if
#ifdef BUG_LATE_ANSWER_OVERWRITES_REVOCATION
  :: true -> copy(remembered[n], mine)
#else
  :: !remembers[n] || mine.rotated > remembered[n].rotated ->
     mine.revoked = mine.revoked || (remembers[n] && remembered[n].revoked);
     copy(remembered[n], mine)
  :: else -> remembered[n].revoked = remembered[n].revoked || mine.revoked
#endif
  fi;
  remembers[n] = true
}

/* Connecting to a new primary: Shared::put_back with merge.lua, before the connection is used. */
proctype Keeper(byte n)
{
end:
  do
  :: d_step { connected[n] != server ->
#if !defined(STRICT) && !defined(BUG_NOTHING_IS_PUT_BACK)
       if
       :: remembers[n] && remembered[n].rotated > stored.rotated ->
          remembered[n].revoked = remembered[n].revoked || stored.revoked;
          copy(stored, remembered[n])
       :: remembers[n] && remembered[n].rotated <= stored.rotated ->
          stored.revoked = stored.revoked || remembered[n].revoked
       :: else
       fi;
#endif
       connected[n] = server
     }
  od
}

inline moved(to)
{
#ifndef LIMIT_TWO_ROTATIONS_IN_ONE_SECOND
  clock++;
#endif
  stored.gen = to; stored.rotated = clock; stored.late = false
}

/* Family::decide and advance.lua, for a request that proved the key. */
inline advance(presented, outcome, answer, mine)
{
  if
  :: stored.revoked -> outcome = REFUSED
#ifdef BUG_NO_ROLL_FORWARD
  :: !stored.revoked && presented > stored.gen -> outcome = REFUSED
#else
  :: !stored.revoked && presented > stored.gen -> stored.row = 0; moved(presented + 1); outcome = OK
#endif
  :: !stored.revoked && presented == stored.gen ->
     stored.row = (stored.late -> stored.row + 1 : 0);
     moved(presented + 1); outcome = OK
#ifdef BUG_PREVIOUS_TOKEN_IS_REUSE
  :: !stored.revoked && presented < stored.gen -> outcome = REUSED
#else
  :: !stored.revoked && presented + 1 == stored.gen ->
#ifdef BUG_RETRY_FORKS
     moved(stored.gen + 1);
#endif
     outcome = OK;
#ifdef LIMIT_REPLAYS_LOOK_LIKE_A_CLONE
     /* More than CLONE_GAP after the rotation. Two generations in a row stand for four. */
     if
     :: !stored.late && stored.row + 1 >= 2 -> outcome = REFUSED; stored.revoked = true
     :: !stored.late && stored.row + 1 < 2 -> stored.late = true
     :: else
     fi
#endif
  :: !stored.revoked && presented + 1 < stored.gen -> outcome = REUSED
#endif
  fi;
  answer = stored.gen;
  all_back = connected[0] == server && connected[1] == server;
  copy(mine, stored)
}

/* A request that proves the key of the client, up to the outcome; `first` is what the ledger said of its proof, or says. */
inline request(replayed)
{
  again = false;
#ifdef BUG_READ_THEN_WRITE
  atomic { connected[n] == server -> at = server; copy(seen, stored) }
  atomic {
    if
    :: at == server -> copy(stored, seen)
    :: else -> at = server
    fi;
    advance(presented, outcome, answer, mine)
  }
#else
  atomic { connected[n] == server -> at = server; advance(presented, outcome, answer, mine) }
#endif
  do
  :: atomic {
#ifdef STRICT
       /* WAIT on the same connection: the replica has all of it, or that is not known. */
       if
       :: at == server && !failed_over -> copy(behind, stored); break
       :: at == server && failed_over -> break          /* the replica of the new primary; there is no second failover */
       :: outcome = UNKNOWN; break
       fi
#else
       /* The answer arrives, whether or not the server still lives, or it is lost. It is waited for for 250 ms, which is shorter than any
          failover: once the node is at another server it comes no more. */
       if
       :: connected[n] == at -> note(n, mine); break
       :: at != server || !answer_lost ->
          if
          :: at == server -> answer_lost = true
          :: else
          fi;
          if
          :: !again && !replayed -> again = true
          :: else -> outcome = UNKNOWN; break
          fi
       fi
#endif
     };
#ifndef STRICT
     atomic { connected[n] == server -> at = server; advance(presented, outcome, answer, mine) }
#endif
  od
}

/* What no longer matters after a request; fewer states differ. */
inline forget()
{
  n = 0; presented = 0; outcome = 0; answer = 0; at = 0; again = false; all_back = false; copy(mine, nothing)
}

/* One window of the honest client. It stores an answer only if it still holds the token that it presented. */
proctype Window(byte requests)
{
  byte n, presented, iat, epoch, outcome, answer, at, rotated, left = requests;
  bool first, again, after_revocation, all_back;
  Record mine;
#ifdef BUG_READ_THEN_WRITE
  Record seen;
#endif
  do
  :: left > 0 ->
     atomic {
       left--;
       presented = held; iat = clock; epoch = server;
       after_revocation = revoked_acknowledged;
       if
       :: n = 0
       :: n = 1
       fi
     }
     /* claim and advance go out together: either may be first. A proof of an earlier epoch is answered with a nonce. */
     if
     :: atomic { first = (epoch == server); captured = true }
        request(false)
     :: request(false);
        atomic { first = (epoch == server); captured = true }
     fi;
     rotated = mine.rotated;
     if
     :: !first || outcome == UNKNOWN          /* signs again, tries again */
     :: first && outcome == OK -> atomic {
          /* G6: revocations stay. In standard durability one that a failover lost is in force again when all nodes are back. */
#ifdef STRICT
          assert(!after_revocation);
#else
          assert(!after_revocation || !all_back);
#endif
          assert(answer == presented + 1);     /* G1, G2: one successor, so no fork */
          if
          :: held == presented -> held = answer
          :: else
          fi
        }
     :: first && (outcome == REUSED || outcome == REFUSED) ->
        if
#ifdef BUG_DELAYED_ORIGINAL_ENDS_FAMILY
        :: outcome == REUSED -> stored.revoked = true
#else
        :: outcome == REUSED && iat >= rotated -> stored.revoked = true
#endif
        :: else
        fi;
#ifndef THIEF_HAS_KEY
        /* invalid_grant for the token that it holds: the session is lost. */
        assert(revoking || held != presented);
#endif
     fi;
     atomic { forget(); iat = 0; epoch = 0; rotated = 0; first = false; after_revocation = false }
  :: left == 0 -> break
  od
}

/* The thief presents any token that the client ever had. */
proctype Thief()
{
  byte n, presented, iat, outcome, answer, at, rotated, left = THEFTS;
  bool again, all_back;
  Record mine;
#ifdef BUG_READ_THEN_WRITE
  Record seen;
#endif
  do
  :: left > 0 ->
     atomic {
       left--;
       presented = held;
       do
       :: presented > 0 -> presented--
       :: break
       od;
       if
       :: n = 0
       :: n = 1
       fi
     }
     if
     /* With a key of its own: refused as OtherKey, and nothing moves. */
     :: skip;
#ifdef BUG_OTHER_KEY_ENDS_FAMILY
        stored.revoked = true
#endif
#ifdef BUG_KEY_IS_NOT_CHECKED
        request(true);
        assert(outcome != OK)                  /* G5: nothing works without the key */
#endif
     /* With a proof of the client that was used: the ledger has it, but the family moves all the same. */
     :: captured -> request(true);
#ifdef BUG_REUSE_IS_JUDGED_BEFORE_THE_PROOF
        if
        :: outcome == REUSED -> stored.revoked = true
        :: else
        fi
#endif
#ifdef LIMIT_UNUSED_PROOF_IS_STOLEN
     :: iat = clock; request(true);
        rotated = mine.rotated;
        if
        :: outcome == REUSED && iat >= rotated -> stored.revoked = true
        :: else
        fi
#endif
#ifdef THIEF_HAS_KEY
     :: iat = clock; request(false);
        rotated = mine.rotated;
        if
        :: outcome == OK -> assert(answer == presented + 1)
        :: outcome == REUSED && iat >= rotated -> stored.revoked = true
        :: else
        fi
#endif
     fi;
     atomic { forget(); iat = 0; rotated = 0 }
  :: left == 0 -> break
  od
}

/* Somebody ends the family, at either node. */
proctype Revoker()
{
  byte n, at;
  Record mine;
  atomic {
    if
    :: n = 0
    :: n = 1
    fi;
    connected[n] == server -> at = server; revoking = true; stored.revoked = true; copy(mine, stored)
  }
  atomic {
#if defined(STRICT) && !defined(BUG_STRICT_WITHOUT_WAIT)
    if
    :: at == server && !failed_over -> copy(behind, stored); revoked_acknowledged = true
    :: at == server && failed_over -> revoked_acknowledged = true
    :: true                                    /* not confirmed: 503, and the caller repeats it */
    fi
#else
    if
    :: connected[n] == at -> note(n, mine); revoked_acknowledged = true
    :: connected[n] != at                      /* no answer: 503, and the caller repeats it */
    fi
#endif
  }
}

proctype World()
{
end:
  do
  :: d_step { !failed_over -> copy(behind, stored) }
  :: d_step { !failed_over -> failed_over = true; server++; copy(stored, behind) }
  od
}

init {
  atomic {
    connected[0] = 1; connected[1] = 1;
    run Keeper(0); run Keeper(1); run World();
#ifdef REVOCATION
    run Revoker();
#endif
#if THEFTS > 0
    run Thief();
#endif
    run Window(REQUESTS); run Window(OTHER_REQUESTS)
  }
}
