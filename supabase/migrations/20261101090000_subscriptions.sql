-- Who pays for what. The billing back end writes it with the secret key; its user may read the own row, and nobody else may
-- do anything with it: a right to update one's own row would be a right to choose one's own tier.

-- Not among the schemas that the REST interface exposes.
create schema tabario;
revoke all on schema tabario from public;
grant usage on schema tabario to service_role;

create function tabario.entitled_tier(tier text, status text) returns text
    language sql immutable set search_path = ''
    return case when status in ('active', 'trialing') then tier else 'standard' end;

comment on function tabario.entitled_tier is 'The tier that a subscription in this state gives a right to.';

create table public.subscriptions (
    user_id uuid primary key references auth.users (id) on delete cascade,
    tier text not null check (tier in ('standard', 'premium')),
    status text not null check (
        status in ('active', 'trialing', 'past_due', 'unpaid', 'paused', 'canceled', 'incomplete', 'incomplete_expired')
    ),
    tier_changed_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp()
);

comment on column public.subscriptions.tier_changed_at is
    'When the tier that the user is entitled to last changed: an access token from before then may not be trusted about it.';

create function tabario.note_subscription_change() returns trigger
    language plpgsql set search_path = ''
as $$
begin
    new.updated_at := clock_timestamp();
    if tg_op = 'INSERT'
        or tabario.entitled_tier(new.tier, new.status) <> tabario.entitled_tier(old.tier, old.status)
    then
        new.tier_changed_at := new.updated_at;
    else
        new.tier_changed_at := old.tier_changed_at;
    end if;
    return new;
end;
$$;

create trigger note_subscription_change
    before insert or update on public.subscriptions
    for each row execute function tabario.note_subscription_change();

revoke execute on all functions in schema tabario from public;
grant execute on function tabario.entitled_tier to service_role;

alter table public.subscriptions enable row level security;

create policy "users read their own subscription" on public.subscriptions
    for select to authenticated
    using ((select auth.uid()) = user_id);

-- A new table in this schema is granted to everybody by default.
revoke all on public.subscriptions from anon, authenticated;
grant select on public.subscriptions to authenticated;
grant select, insert, update, delete on public.subscriptions to service_role;
